// SPDX-License-Identifier: Apache-2.0
/// What is scored or removed together. The raw values are those of `prune_granularity`.
public enum Granularity: Int32, Sendable {
    /// Each attention and each feed-forward layer by itself: 2 * blockCount units.
    case sublayer = 0
    /// The attention and the feed-forward of a block: blockCount units.
    case block = 1
    /// Attention layers only: blockCount units.
    case attention = 2
    /// Feed-forward layers only: blockCount units.
    case feedForward = 3

    public func unitCount(blocks: Int) -> Int {
        self == .sublayer ? 2 * blocks : blocks
    }

    /// The sublayers of a unit.
    public func sublayers(ofUnit unit: Int) -> ClosedRange<Int> {
        switch self {
        case .sublayer: unit...unit
        case .block: 2 * unit...2 * unit + 1
        case .attention: 2 * unit...2 * unit
        case .feedForward: 2 * unit + 1...2 * unit + 1
        }
    }

    /// The name of a unit: "attn.3", "ffn.3", "block.3".
    public func name(ofUnit unit: Int) -> String {
        self == .block ? "block.\(unit)" : sublayerName(sublayers(ofUnit: unit).lowerBound)
    }
}
