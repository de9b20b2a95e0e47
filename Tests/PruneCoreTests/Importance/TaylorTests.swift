// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

@testable import PruneCore

/// Weights times gradients: against differences of the loss, and the same however the work is cut.
@Suite struct TaylorTests {
    /// tales-12l, whose weights are stored in bf16.
    static func tales(_ compute: ComputeType = .float32) throws -> NativeModel {
        try NativeModel(
            directory: talesDirectory, compute: compute)
    }

    static func data(weights: Bool = false) throws -> TokenData {
        var random = RandomSource(seed: 9, stream: 0)
        let tokens = (0..<90).map { _ in Int32(random.index(below: 2048)) }
        return try TokenData(
            tokens: tokens, lengths: [40, 1, 30, 19], weights: weights ? (0..<90).map { Float($0 % 4) / 2 } : nil)
    }

    static let mask = [3, 8, 9, 14].reduce(KeepMask(blocks: 12)) { $0.removing(unit: $1, .sublayer) }

    @Test func taylorDoesNotDependOnGroupsAndBatches() throws {
        let model = try Self.tales()
        let data = try Self.data(weights: true)
        let whole = try taylor(model, data, .sublayer, under: Self.mask, batchTokens: 2048)
        #expect(whole.indices.filter { whole[$0] == 0 } == [3, 8, 9, 14])
        // Each sublayer in a pass of its own; three or so in one.
        for memory in [0, 4 * 131_072 * 3 + 4 * 128 * 90 * 22] {
            var last: PruneCore.Progress?
            var done: [Int] = []
            let found = try taylor(
                model, data, .sublayer, under: Self.mask, batchTokens: 2048, memory: memory
            ) { progress in
                last = progress
                done.append(progress.done)
                return false
            }
            #expect(found == whole)
            #expect(last?.done == last?.total && done == done.sorted())
        }
        let parts = try taylor(model, data, .sublayer, under: Self.mask, batchTokens: 41)
        for (one, other) in zip(whole, parts) { #expect(abs(one - other) <= 1e-4 * one) }
        let blocks = try taylor(model, data, .block, under: Self.mask, batchTokens: 2048)
        for (block, found) in blocks.enumerated() { #expect(found == whole[2 * block] + whole[2 * block + 1]) }
    }

    /// Where a matrix has one entry that is not 0, its score is the slope of the loss over a factor of the matrix.
    @Test func anAdapterScoresTheSlopeOverItsScale() throws {
        let model = try Self.tales()
        let data = try Self.data()
        let mask = KeepMask(blocks: 12).removing(unit: 5, .sublayer)
        var random = RandomSource(seed: 4, stream: 0)
        var adapter = Adapter(.linear, width: 128, norm: try model.norm(ofSublayer: 5))
        adapter.parameters[adapter.matrixRange.lowerBound + 128 * 7 + 11] = Float(random.unit() + 0.5)
        func recovered(_ factor: Float) throws -> RecoveredModel {
            var scaled = adapter
            for place in scaled.matrixRange { scaled.parameters[place] *= factor }
            return try RecoveredModel(
                model,
                AdapterSet(mask: mask, adapters: [5: scaled], weightSample: try model.weightSample(), hiddenSize: 128))
        }
        let all = KeepMask(blocks: 12)
        let found = try taylor(try recovered(1), data, .sublayer, under: all, batchTokens: 2048)
        let losses = try [1.1, 0.9].map { factor in
            try evaluate(try recovered(Float(factor)), data, under: [all])[0].loss
        }
        let slope = abs(losses[0] - losses[1]) / 0.2
        #expect(slope > 1e-4)
        #expect(abs(found[5] - slope) < 0.02 * slope)
        #expect(found.allSatisfy { $0 > 0 })
    }

    @Test func aModelWithoutGradientsSaysSo() throws {
        let model = HandModel(updates: [[1, 0, 0], [0, 1, 0]])
        let data = try TokenData(tokens: [0, 1, 2], lengths: [3], weights: nil)
        expectFault(.unsupported, naming: "gradients") {
            _ = try score(model, data, ScoreRequest(metrics: [.taylor], mask: KeepMask(blocks: 1)))
        }
    }

    @Test func gradientsOfAnotherSublayerAreRefused() throws {
        let model = try Self.tales()
        let batch = TokenBatch(try Self.data(), 0..<1)
        let state = try model.start(batch)
        let wrong = try model.weightGradients(ofSublayer: 1)
        expectFault(.internal, naming: "attn.0") {
            _ = try model.pullback(0, at: [state], of: [state], addingTo: wrong)
        }
        expectFault(.internal, naming: "attn.0") { _ = try model.taylor(ofSublayer: 0, wrong) }
    }
}

/// On any number of threads, which is the process's.
@Suite(.serialized) struct TaylorThreadTests {
    @Test(arguments: HeadGradientTests.computeTypes)
    func taylorDoesNotDependOnThreads(_ compute: ComputeType) throws {
        let model = try TaylorTests.tales(compute)
        let data = try TaylorTests.data()
        defer { ThreadPool.threads = 0 }
        let found = try [1, 2, 3].map { threads in
            ThreadPool.threads = threads
            return try taylor(model, data, .sublayer, under: TaylorTests.mask, batchTokens: 50)
        }
        #expect(found.allSatisfy { $0 == found[0] })
    }
}
