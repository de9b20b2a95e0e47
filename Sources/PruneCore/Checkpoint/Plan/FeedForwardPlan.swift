// SPDX-License-Identifier: Apache-2.0
/// What a feed-forward sublayer, or an expert, computes between its norms:
///
///     down(activation(gate(x)) * up(x)), or down(activation(gate(x))) without up
struct FeedForwardPlan: Sendable {
    let inputs: Inputs
    let down: ProjectionPlan
    var activation: Activation

    enum Inputs: Sendable {
        case gated(gate: ProjectionPlan, up: ProjectionPlan)
        /// One projection that gives a gate, then the up it meets, then the next gate.
        case alternating(ProjectionPlan)
        case plain(ProjectionPlan)
    }
}

/// A mixture of experts in the place of a feed-forward:
///
///     sum over the chosen experts e of weight[e] * expert[e](x), + sharedWeight * shared(x)
///
/// Removed and kept as one.
struct MixturePlan: Sendable {
    /// Gives a score for each expert.
    let router: ProjectionPlan
    let chosenCount: Int
    /// A chosen expert's weight is its share of the softmax over all; whether the weights are divided by their sum, which makes
    /// them the softmax over the chosen ones.
    let isNormalised: Bool
    let experts: [FeedForwardPlan]
    /// An expert that every token goes through; nil = none.
    let shared: FeedForwardPlan?
    /// Gives one value, whose sigmoid weighs the shared expert; nil = it counts in full.
    let sharedGate: ProjectionPlan?
}
