// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

@testable import PruneCore

/// What the tests of training share: a model, data, and options for a short training.
struct TrainingCase {
    var model: any Model = CurvedModel()
    var mask: KeepMask
    var data: TokenData
    var options = AdapterOptions()
    var training = TrainingOptions()

    init(removing removed: [Int] = [1, 2], sequences: Int = 24, seed: UInt64 = 1, weighted: Bool = false) throws {
        var random = RandomSource(seed: seed, stream: 9)
        let lengths = (0..<sequences).map { _ in 4 + random.index(below: 8) }
        let tokens = (0..<lengths.reduce(0, +)).map { _ in Int32(random.index(below: 9)) }
        data = try TokenData(
            tokens: tokens, lengths: lengths, weights: weighted ? tokens.map { $0 == 3 ? 0 : 0.5 + Float($0) } : nil)
        mask = removed.reduce(KeepMask(blocks: 3)) { $0.removing(unit: $1, .sublayer) }
        options.rank = 2
        options.seed = 3
        options.heldOutShare = 0.25
        training.start = .zero
        training.steps = 40
        training.stepTokens = 40
        training.learningRate = 0.02
        training.evaluateEvery = 10
    }

    func run(_ step: ((TrainingProgress) -> Bool)? = nil) throws -> AdapterSet {
        try recover(model, data, under: mask, options, training: training, step: step)
    }

    /// Adapters of the options' kind with parameters drawn at random.
    func randomAdapters() throws -> AdapterSet {
        var random = RandomSource(seed: 8, stream: 2)
        var adapters: [Int: Adapter] = [:]
        for slot in try adapterSlots(model, under: mask, options) {
            var adapter = Adapter(options.kind, width: model.shape.hiddenSize, rank: options.rank ?? 0, norm: slot.norm)
            adapter.parameters = adapter.parameters.map { _ in Float(random.unit() - 0.5) }
            adapters[slot.sublayer] = adapter
        }
        return AdapterSet(mask: mask, adapters: adapters, weightSample: [], hiddenSize: model.shape.hiddenSize)
    }
}

@Suite struct TrainingTests {
    static let objectives: [RecoveryObjective] = [.mse, .crossEntropy, .kl, .js]

    @Test(arguments: AdapterKind.allCases, objectives)
    func theHeldOutObjectiveFalls(_ kind: AdapterKind, _ objective: RecoveryObjective) throws {
        var own = try TrainingCase()
        own.options.kind = kind
        own.training.objective = objective
        let report = try own.run().report
        let before = try #require(report.heldOutBefore)
        let best = try #require(report.heldOutBest)
        #expect(best < before, "\(kind.name) \(objective.name): \(before) to \(best)")
        #expect(report.history.map(\.step) == [0, 10, 20, 30, 40])
        #expect(report.history.map(\.heldOutLoss).min() == best && report.history[0].heldOutLoss == before)
        #expect(report.history[0].loss.isNaN && report.history.dropFirst().allSatisfy { $0.loss.isFinite })
        #expect(report.steps == 40 && report.objective == objective)
    }

    /// The held-out loss that is reported is the one of the adapters that are given.
    @Test(arguments: objectives)
    func trainingReturnsTheBestAdapters(_ objective: RecoveryObjective) throws {
        var own = try TrainingCase(weighted: true)
        own.training.objective = objective
        // So high that the last look is not the best.
        own.training.learningRate = 0.3
        let parts = try own.data.split(share: 0.25, seed: 3)
        let result = try own.run()
        let pass = GradientPass(own.model, own.mask, objective)
        let loss = try HeldOutObjective(pass, parts.heldOut, batchTokens: 100).loss(result.adapters)
        #expect(abs(loss - (result.report.heldOutBest ?? .nan)) < 1e-6 * loss)
        let again = try recover(
            own.model, parts.rest, heldOut: parts.heldOut, under: own.mask, own.options, training: own.training)
        #expect(again.adapters == result.adapters)
    }

    @Test func sameSeedSameBits() throws {
        var own = try TrainingCase()
        let first = try own.run().adapters
        #expect(try own.run().adapters == first)
        own.options.seed = 4
        #expect(try own.run().adapters != first)
    }

    @Test func microBatchesDoNotMatterButForRounding() throws {
        var own = try TrainingCase()
        own.training.steps = 5
        let whole = try own.run().adapters
        own.options.batchTokens = 12
        let parts = try own.run().adapters
        for (sublayer, adapter) in whole {
            for (a, b) in zip(adapter.parameters, parts[sublayer]?.parameters ?? []) { #expect(abs(a - b) < 1e-3) }
        }
    }

    @Test(arguments: [[0], [5], [2, 3], [0, 1, 2, 3, 4, 5]])
    func anySetOfSublayersTrains(_ removed: [Int]) throws {
        for slot in [BlockSlot.attention, .feedForward, .both] {
            var own = try TrainingCase(removing: removed)
            own.options.blockSlot = slot
            let result = try own.run()
            #expect((result.report.heldOutBest ?? .nan) < (result.report.heldOutBefore ?? .nan))
            #expect(result.sublayers == (try adapterSlots(own.model, under: own.mask, own.options).map(\.sublayer)))
        }
    }

    @Test func trainingStartsFromAdapters() throws {
        var own = try TrainingCase()
        let first = try own.run()
        own.options.seed = 9
        let more = try recover(
            own.model, own.data, heldOut: own.data, under: own.mask, own.options, initial: first, training: own.training
        )
        let pass = GradientPass(own.model, own.mask, .kl)
        let start = try HeldOutObjective(pass, own.data, batchTokens: 2048).loss(first.adapters)
        #expect(more.report.heldOutBefore == start)
        #expect((more.report.heldOutBest ?? .nan) <= start && more.report.steps == 40)
    }

    @Test func trainingEndsWhenPatienceRunsOut() throws {
        var own = try TrainingCase()
        own.training.steps = 1000
        own.training.learningRate = 2
        own.training.evaluateEvery = 1
        own.training.patience = 3
        let report = try own.run().report
        #expect(report.steps == report.bestStep + 3)
    }

    @Test func everyStepReportsItsProgress() throws {
        var own = try TrainingCase()
        own.training.steps = 12
        own.training.warmupSteps = 4
        own.training.evaluateEvery = nil
        var told: [TrainingProgress] = []
        let report = try own.run {
            told.append($0)
            return false
        }.report
        #expect(told.map(\.step) == Array(1...12))
        #expect(told.allSatisfy { $0.steps == 12 && $0.loss.isFinite && $0.tokensPerSecond > 0 && $0.seconds >= 0 })
        #expect(told.map(\.bestLoss).last == report.heldOutBest)
        #expect(zip(told, told.dropFirst()).allSatisfy { $0.bestLoss >= $1.bestLoss })
        for (step, share) in [(0, 0.25), (1, 0.5), (2, 0.75), (3, 1), (4, 1)] {
            #expect(abs(told[step].learningRate - 0.02 * share) < 1e-12)
        }
        #expect(zip(told.dropFirst(4), told.dropFirst(5)).allSatisfy { $0.learningRate > $1.learningRate })
    }
}
