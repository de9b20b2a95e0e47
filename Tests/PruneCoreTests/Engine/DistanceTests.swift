// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

/// Distances between the logits of two states of the native engine.
@Suite struct DistanceTests {
    /// Equal logits are exactly 0 apart, whatever the loops are compiled for: PRUNECORE_LOOPS chooses their level.
    @Test(arguments: ComputeType.allCases.filter(\.isSupported), [LogitDistance.l2, .kl, .js])
    func equalStatesAreExactlyZeroApart(_ compute: ComputeType, _ kind: LogitDistance) throws {
        // More entries than a tile has, and a last tile that is not a multiple of any vector.
        let model = try randomModel("LlamaForCausalLM", ["vocab_size": "2051"], compute: compute)
        let tokens = (0..<60).map { Int32($0 * 31 % 2051) }
        let data = try TokenData(tokens: tokens, lengths: [60], weights: nil)
        let batch = try #require(data.batches(of: 60).first)
        let all = KeepMask(blocks: 2)
        let one = try model.run(try model.start(batch), under: all)
        let same = try model.run(try model.start(batch), under: all)
        let other = try model.run(try model.start(batch), under: all.removing(unit: 1, .sublayer))
        let rows = Array(0..<60)
        #expect(try model.distances(one, to: same, kind, at: rows).allSatisfy { $0 == 0 })
        #expect(try model.distances(one, to: other, kind, at: rows).allSatisfy { $0 > 0 })
    }
}
