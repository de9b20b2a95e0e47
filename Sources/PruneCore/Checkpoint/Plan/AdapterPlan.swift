// SPDX-License-Identifier: Apache-2.0
/// An adapter that a checkpoint holds in the place of a sublayer, h -> h + bias + matrix * x, and where its numbers are
/// stored; see `Adapter`.
///
/// Where writers of a format name a tensor differently there are several names, of which the first that is stored counts.
struct AdapterPlan: Sendable {
    let kind: AdapterKind
    /// Of `lowRank`, at least 1; else 0.
    let rank: Int
    /// The norm its input goes through; nil = none.
    let norm: NormPlan?
    /// Names of the bias, hiddenSize values.
    let bias: [String]
    /// Whether the bias is 0 where none is stored.
    let mayLackBias: Bool
    /// Names of each matrix: down and up of `lowRank`, the one of `linear`.
    let matrices: [[String]]
}
