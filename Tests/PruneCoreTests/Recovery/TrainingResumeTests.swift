// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

@testable import PruneCore

@Suite struct TrainingResumeTests {
    let directory = try! TemporaryDirectory()
    var path: String { directory.file("training") }

    private func checkpointed() throws -> TrainingCase {
        var own = try TrainingCase()
        own.training.steps = 17
        own.training.evaluateEvery = 4
        own.training.weightDecay = 0.1
        own.training.checkpoint = path
        return own
    }

    /// What is left of a report without the clock.
    private func timeless(_ report: RecoveryReport) -> RecoveryReport {
        var report = report
        report.seconds = 0
        // Of step 0, where there is none: nan is not equal to itself.
        report.history = report.history.map {
            TrainingRecord(step: $0.step, loss: $0.loss.isNaN ? -1 : $0.loss, heldOutLoss: $0.heldOutLoss)
        }
        return report
    }

    @Test(arguments: [1, 3, 4, 9, 16], [NormKind.rootMeanSquare, .layer])
    func aStoppedTrainingResumesToTheSameBits(_ stop: Int, _ norm: NormKind) throws {
        var own = try checkpointed()
        own.model = CurvedModel(norm: norm)
        let path = own.training.checkpoint
        own.training.checkpoint = nil
        let whole = try own.run()
        own.training.checkpoint = path
        expectFault(.cancelled, naming: "step \(stop) of 17") { _ = try own.run { $0.step == stop } }
        var first: Int?
        let result = try own.run {
            first = first ?? $0.step
            return false
        }
        #expect(first == stop + 1)
        #expect(result.adapters == whole.adapters)
        #expect(result.adapters.values.allSatisfy { $0.norm?.kind ?? norm == norm })
        #expect(timeless(result.report) == timeless(whole.report))
    }

    /// A process that is killed leaves the last checkpoint that was due.
    @Test func aTrainingResumesFromTheLastCheckpointBeforeACrash() throws {
        var own = try checkpointed()
        own.training.checkpointEvery = 3
        var kept: [UInt8] = []
        let whole = try own.run { progress in
            if progress.step == 8 { kept = (try? MappedFile.read(path, limit: 1 << 20)) ?? [] }
            return false
        }
        try directory.write("training", kept)
        var first: Int?
        let result = try own.run {
            first = first ?? $0.step
            return false
        }
        #expect(first == 7)
        #expect(result.adapters == whole.adapters)
    }

    @Test func aFinishedTrainingIsGivenAtOnce() throws {
        let own = try checkpointed()
        let whole = try own.run()
        var steps = 0
        let again = try own.run { _ in
            steps += 1
            return false
        }
        #expect(steps == 0 && again.adapters == whole.adapters && timeless(again.report) == timeless(whole.report))
    }

    @Test func checkpointsOfOtherTrainingsAreRefused() throws {
        let own = try checkpointed()
        _ = try own.run()
        let before = try MappedFile.read(path, limit: 1 << 20)
        var others: [TrainingCase] = []
        func add(_ change: (inout TrainingCase) throws -> Void) rethrows {
            var other = own
            try change(&other)
            others.append(other)
        }
        add { $0.training.steps = 18 }
        add { $0.training.learningRate = 0.01 }
        add { $0.training.objective = .js }
        add { $0.training.patience = 100 }
        add { $0.options.seed = 4 }
        add { $0.options.rank = 3 }
        add { $0.options.normsInput = false }
        add { $0.mask = KeepMask(blocks: 3).removing(unit: 1, .sublayer) }
        add { $0.model = CurvedModel(width: 7) }
        try add { $0.data = try TrainingCase(seed: 2).data }
        for other in others {
            expectFault(.format, naming: "another training", path) { _ = try other.run() }
        }
        #expect(try MappedFile.read(path, limit: 1 << 20) == before)
    }

    @Test(arguments: [NormKind.rootMeanSquare, .layer])
    func damagedCheckpointsAreRefused(_ norm: NormKind) throws {
        var own = try checkpointed()
        own.model = CurvedModel(norm: norm)
        let state = TrainingState(try own.randomAdapters(), .kl)
        let layout = TrainingCheckpoint.Layout(hiddenSize: 6, mask: own.mask)
        let bytes = TrainingCheckpoint.encode(state, 77)
        #expect(try TrainingCheckpoint.decode(bytes, 77, layout).adapters == state.adapters)
        for length in stride(from: 0, to: bytes.count, by: 3) {
            #expect(throws: PruneError.self) { try TrainingCheckpoint.decode(Array(bytes[..<length]), 77, layout) }
        }
        for place in bytes.indices {
            var flipped = bytes
            flipped[place] ^= 1 << UInt8(place % 8)
            #expect(throws: PruneError.self) { try TrainingCheckpoint.decode(flipped, 77, layout) }
            // With the checksum made to fit, whatever it says must not trap.
            var forged = Array(flipped.dropLast(8))
            let sum = ByteChecksum(forged[...]).value
            forged += (0..<8).map { UInt8(truncatingIfNeeded: sum >> (8 * UInt64($0))) }
            _ = try? TrainingCheckpoint.decode(forged, 77, layout)
        }
        try directory.write("training", Array("no checkpoint".utf8))
        expectFault(.format, naming: path) { _ = try own.run() }
    }

    @Test func aPathThatCannotBeWrittenIsToldBeforeTheFirstStep() throws {
        var own = try checkpointed()
        own.training.checkpoint = directory.file("missing/training")
        var steps = 0
        expectFault(.file, naming: "missing/training") {
            _ = try own.run { _ in
                steps += 1
                return false
            }
        }
        #expect(steps == 0)
    }
}
