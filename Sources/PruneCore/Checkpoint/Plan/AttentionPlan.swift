// SPDX-License-Identifier: Apache-2.0
/// What an attention sublayer computes between its norms:
///
///     output(softmax(cap(scale * q k^T), beside the sinks) v)
///
/// with q, k, v projected from x, clipped, normed by head and turned by position, in this order. Causal; a query at
/// position i sees the keys j with i - window < j <= i.
struct AttentionPlan: Sendable {
    let inputs: Inputs
    let output: ProjectionPlan
    /// Values of queries, keys and values are held within +- this; nil = they are not.
    let clip: Float?
    /// nil = none.
    let queryNorm, keyNorm: HeadNormPlan?
    /// nil = heads are not turned.
    let rotary: RotaryParameters?
    /// On the products of queries and keys.
    let scale: Float
    /// Scores s become softCap * tanh(s / softCap); nil = they stay.
    let softCap: Float?
    /// Tokens that a query sees at most, itself included; nil = all before it.
    let window: Int?
    /// A tensor [heads] of scores that softmax counts beside those of the keys; nil = none.
    let sinks: String?

    /// Where queries, keys and values come from.
    enum Inputs: Sendable {
        case separate(query: ProjectionPlan, key: ProjectionPlan, value: ProjectionPlan)
        /// One projection whose outputs are query, key and value of the first head, then those of the next.
        case headByHead(ProjectionPlan)
    }
}
