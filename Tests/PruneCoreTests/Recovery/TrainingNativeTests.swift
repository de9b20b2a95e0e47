// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

/// Training on the engine itself, in both types that it multiplies in.
@Suite struct TrainingNativeTests {
    static let types = ComputeType.allCases.filter(\.isSupported)
    let directory = try! TemporaryDirectory()

    private func native(_ compute: ComputeType) throws -> TrainingCase {
        var own = try TrainingCase(removing: [0, 3])
        own.model = try randomModel("Qwen3ForCausalLM", compute: compute)
        own.mask = KeepMask(blocks: 2).removing(unit: 0, .sublayer).removing(unit: 3, .sublayer)
        own.options.rank = 4
        own.training.steps = 12
        own.training.evaluateEvery = 4
        return own
    }

    @Test(arguments: types, TrainingTests.objectives)
    func nativeTrainingLearnsFromBothStarts(_ compute: ComputeType, _ objective: RecoveryObjective) throws {
        var own = try native(compute)
        own.training.objective = objective
        for start in [RecoveryStart.zero, .closedForm] {
            own.training.start = start
            let report = try own.run().report
            #expect(
                (report.heldOutBest ?? .nan) < (report.heldOutBefore ?? .nan), "\(compute) \(objective.name) \(start)")
            #expect((report.statisticsTokens > 0) == (start == .closedForm))
        }
    }

    @Test(arguments: types)
    func nativeTrainingDoesNotDependOnThreads(_ compute: ComputeType) throws {
        defer { ThreadPool.threads = 0 }
        var own = try native(compute)
        own.training.start = .closedForm
        own.training.steps = 6
        ThreadPool.threads = 1
        let alone = try own.run()
        for threads in 2...3 {
            ThreadPool.threads = threads
            let result = try own.run()
            #expect(result.adapters == alone.adapters)
            #expect(result.report.history.dropFirst() == alone.report.history.dropFirst())
        }
    }

    @Test(arguments: types)
    func aStoppedNativeTrainingResumesToTheSameBits(_ compute: ComputeType) throws {
        var own = try native(compute)
        own.training.start = .closedForm
        let whole = try own.run()
        own.training.checkpoint = directory.file("training")
        expectFault(.cancelled, naming: "step 7") { _ = try own.run { $0.step == 7 } }
        let result = try own.run()
        #expect(result.adapters == whole.adapters)
        #expect(result.report.ridges == whole.report.ridges && result.report.explained == whole.report.explained)
        #expect(result.report.statisticsTokens == whole.report.statisticsTokens)
    }
}
