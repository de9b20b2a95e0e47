// SPDX-License-Identifier: Apache-2.0
/// A norm as a model has it: which formula, and where its numbers are stored, with
/// gain = factor * (offset + stored), or factor where nothing is stored, and bias = factor * stored.
struct NormPlan: Sendable {
    let kind: NormKind
    let epsilon: Float
    /// The tensors of the gain, one after the other: one, or one per head; empty = it is 1 everywhere.
    let gains: [String]
    /// Of each of them.
    let shape: [Int]
    /// The tensor of the bias; nil = none.
    let bias: String?
    /// What is added to what is stored: 1 in the Gemma family.
    let offset: Float
    /// On gain and bias: LayerNorm Scaling (arXiv 2502.05795) has 1 / sqrt(block + 1).
    let factor: Float
}

/// A norm of queries or keys, before they are turned.
struct HeadNormPlan: Sendable {
    enum Span: Sendable {
        /// Over each head, with one gain for all.
        case head
        /// Over each head, which has a gain of its own.
        case eachHead
        /// Over all heads together.
        case allHeads
    }

    let norm: NormPlan
    let span: Span
}
