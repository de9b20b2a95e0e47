// SPDX-License-Identifier: Apache-2.0
/// What an adapter computes from the hidden state. The raw values are those of `PRUNE_ADAPTER_*`.
public enum AdapterKind: Int32, Sendable, CaseIterable {
    /// A constant: the emulated update (arXiv 2407.16286, section 3.2.1).
    case bias = 1
    /// A constant and a map of low rank.
    case lowRank = 2
    /// A constant and a whole matrix.
    case linear = 3

    public var name: String {
        switch self {
        case .bias: "bias"
        case .lowRank: "low_rank"
        case .linear: "linear"
        }
    }
}
