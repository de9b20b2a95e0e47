// SPDX-License-Identifier: Apache-2.0
/// What the logits of a hidden state are compared with: a loss per predicting row, nats.
public enum HeadObjective: Sendable {
    /// -log p(the token that follows in the data).
    case crossEntropy
    /// KL(reference || state) of the next-token distributions; the reference is a state of the same batch.
    case kl(any HiddenState)
    /// Jensen-Shannon divergence of the two; the reference is a state of the same batch.
    case js(any HiddenState)
}

extension Model {
    public var hasGradients: Bool { false }

    public func pullback(
        _ sublayer: Int, at states: [any HiddenState], of gradients: [any HiddenState]
    ) throws(PruneError) -> [any HiddenState] { throw noGradients }

    public func headPullback(
        _ state: any HiddenState, _ objective: HeadObjective, at rows: [Int], weights: [Float]
    ) throws(PruneError) -> (losses: [Float], gradient: any HiddenState) { throw noGradients }

    public func weightGradients(ofSublayer sublayer: Int) throws(PruneError) -> WeightGradients { throw noGradients }

    public func pullback(
        _ sublayer: Int, at states: [any HiddenState], of gradients: [any HiddenState], addingTo sums: WeightGradients
    ) throws(PruneError) -> [any HiddenState] { throw noGradients }

    public func taylor(ofSublayer sublayer: Int, _ gradients: WeightGradients) throws(PruneError) -> Double {
        throw noGradients
    }

    /// The error of what needs gradients and has none.
    public var noGradients: PruneError {
        PruneError(
            .unsupported, "this model gives no gradients; closed forms, evaluation and the other metrics work without")
    }
}
