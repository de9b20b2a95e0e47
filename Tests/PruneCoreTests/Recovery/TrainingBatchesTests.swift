// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

@Suite struct TrainingBatchesTests {
    private func data(_ lengths: [Int]) throws -> TokenData {
        try TokenData(tokens: (0..<lengths.reduce(0, +)).map(Int32.init), lengths: lengths, weights: nil)
    }

    @Test func everySequenceOncePerEpoch() throws {
        let data = try data(Array(repeating: 3, count: 10))
        var batches = TrainingBatches(data, Array(0..<10), stepTokens: 7, seed: 1)
        var used = 0
        var seen: [Int] = []
        for _ in 0..<15 {
            let step = batches.next(after: &used)
            #expect(step.count == 2)
            seen += step
        }
        #expect(used == 30)
        for epoch in 0..<3 { #expect(seen[10 * epoch..<10 * epoch + 10].sorted() == Array(0..<10)) }
        #expect(Array(seen[..<10]) != Array(seen[10..<20]))
    }

    @Test func aStepStaysWithinItsTokensButForOneSequence() throws {
        let lengths = [5, 1, 9, 2, 30, 4, 4, 12]
        let data = try data(lengths)
        var batches = TrainingBatches(data, Array(0..<8), stepTokens: 12, seed: 2)
        var used = 0
        for _ in 0..<40 {
            let step = batches.next(after: &used)
            #expect(step.count == 1 || step.reduce(0) { $0 + lengths[$1] } <= 12)
            #expect(!step.isEmpty)
        }
    }

    @Test func batchesResumeFromAnyStep() throws {
        let data = try data([2, 3, 4, 5, 6])
        var whole = TrainingBatches(data, [0, 2, 3, 4], stepTokens: 9, seed: 3)
        var used = 0
        for _ in 0..<20 {
            let before = used
            let step = whole.next(after: &used)
            var fresh = TrainingBatches(data, [0, 2, 3, 4], stepTokens: 9, seed: 3)
            var own = before
            #expect(fresh.next(after: &own) == step && own == used && !step.contains(1))
        }
    }

    @Test func selectedSequencesKeepTokensAndWeights() throws {
        let data = try TokenData(tokens: [1, 2, 3, 4, 5, 6], lengths: [2, 1, 3], weights: [0, 1, 2, 3, 4, 5])
        let own = try data.selecting([2, 0])
        #expect(own.tokens == [4, 5, 6, 1, 2] && own.offsets == [0, 3, 5])
        #expect(own.weights == [3, 4, 5, 0, 1])
        #expect(data.predictingSequences == [0, 2])
    }

    @Test(arguments: [0.01, 0.3, 0.99])
    func aSplitLosesNothing(_ share: Double) throws {
        let data = try data([2, 3, 1, 5, 6, 7, 8, 2, 2, 9])
        let parts = try data.split(share: share, seed: 4)
        #expect((parts.rest.tokens + parts.heldOut.tokens).sorted() == data.tokens.filter { $0 != 5 })
        #expect(parts.heldOut.sequenceCount == [0.01: 1, 0.3: 3, 0.99: 8][share])
    }
}
