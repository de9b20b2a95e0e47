// SPDX-License-Identifier: Apache-2.0
/// The arrays of an adapter. The raw values are those of `PRUNE_PART_*`.
public enum AdapterPart: Int32, Sendable, CaseIterable {
    case bias = 0
    case down = 1
    case up = 2
    case matrix = 3
    /// The gain of its input's norm.
    case norm = 4
    /// The bias of its input's norm.
    case normBias = 5

    public var name: String {
        switch self {
        case .bias: "bias"
        case .down: "down"
        case .up: "up"
        case .matrix: "matrix"
        case .norm: "norm"
        case .normBias: "norm_bias"
        }
    }

    /// What a file calls it, after the name of the place where the adapter stands.
    var tensorName: String {
        switch self {
        case .bias: "bias"
        case .down: "down.weight"
        case .up: "up.weight"
        case .matrix: "linear.weight"
        case .norm: "norm.weight"
        case .normBias: "norm.bias"
        }
    }
}

extension AdapterPart {
    /// The parts that make up the parameters of a kind, in their order.
    static func parameters(of kind: AdapterKind) -> [AdapterPart] {
        switch kind {
        case .bias: [.bias]
        case .lowRank: [.bias, .down, .up]
        case .linear: [.bias, .matrix]
        }
    }
}
