// SPDX-License-Identifier: Apache-2.0
/// Adapters that are biases, moved into the output biases of kept sublayers; and those that could not be.
///
/// A bias at removed sublayer u adds a constant to the residual stream, and so does the output bias of the last kept
/// sublayer before it. Nothing that reads the stream lies between the two if no adapter with an input does, so that
/// moving the one into the other changes no number but by rounding.
public struct FoldedAdapters: Sendable {
    /// What to add to the output bias of each sublayer: sublayerCount rows of hiddenSize values. Zeros for removed ones.
    public private(set) var biases: [Float]
    /// Adapters with an input, and biases with no kept sublayer before them, or one with an input between: of the same
    /// mask.
    public private(set) var rest: AdapterSet

    public init(_ adapters: AdapterSet) {
        let width = adapters.hiddenSize
        biases = Array(repeating: 0, count: adapters.mask.keeps.count * width)
        rest = adapters
        /// The kept sublayer that a bias here would move to.
        var target: Int?
        for sublayer in adapters.mask.keeps.indices {
            if adapters.mask.keeps(sublayer) {
                target = sublayer
            } else if let adapter = adapters.adapters[sublayer] {
                guard adapter.kind == .bias else {
                    target = nil
                    continue
                }
                guard let target else { continue }
                for (place, value) in adapter.parameters.enumerated() { biases[target * width + place] += value }
                rest.adapters[sublayer] = nil
            }
        }
    }
}
