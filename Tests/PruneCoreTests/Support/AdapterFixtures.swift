// SPDX-License-Identifier: Apache-2.0
@testable import PruneCore

/// Adapters with random numbers of the size that real ones have, for the sublayers that `mask` removes, from `kinds`.
///
/// - Parameters:
///   - norm: of their inputs, if they are normed; a layer norm has a bias.
///   - scale: largest absolute value of a parameter.
func randomAdapters(
    _ mask: KeepMask, width: Int, _ kinds: [Int: (AdapterKind, rank: Int)], normed: Bool = true,
    norm: NormKind = .rootMeanSquare, scale: Float = 0.05, seed: UInt64 = 1
) -> AdapterSet {
    var random = SeededGenerator(state: seed)
    var adapters: [Int: Adapter] = [:]
    for (sublayer, (kind, rank)) in kinds.sorted(by: { $0.key < $1.key }) {
        let gain = (0..<width).map { _ in Float.random(in: 0.5...1.5, using: &random) }
        var adapter = Adapter(
            kind, width: width, rank: rank,
            norm: normed
                ? InputNorm(norm, gain: gain, bias: norm == .layer ? gain.reversed() : nil, epsilon: 1e-5) : nil)
        for index in adapter.parameters.indices {
            adapter.parameters[index] = Float.random(in: -scale...scale, using: &random)
        }
        adapters[sublayer] = adapter
    }
    return AdapterSet(mask: mask, adapters: adapters, weightSample: [0.1, -2.5, 3e-8], hiddenSize: width)
}

/// A mask without some sublayers.
func mask(blocks: Int, without removed: [Int]) -> KeepMask {
    removed.reduce(KeepMask(blocks: blocks)) { $0.removing(unit: $1, .sublayer) }
}
