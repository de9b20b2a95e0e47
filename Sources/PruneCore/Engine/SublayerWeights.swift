// SPDX-License-Identifier: Apache-2.0
/// The weights of one sublayer; of one that is absent no more than the norm of the sum, if it has one.
///
/// A class, as its parts are: they are passed around in every call, and never change.
final class SublayerWeights: Sendable {
    let plan: SublayerPlan
    let before, after, last: Norm?
    let update: Update
    /// Every tensor it needs, whole, each once.
    let tensors: [StoredTensor]

    enum Update: Sendable {
        case attention(AttentionWeights)
        case feedForward(FeedForwardWeights)
        case mixture(MixtureWeights)
        /// The sublayer is no part of the model.
        case absent
    }

    /// Whether the sublayer is no part of the model.
    var isAbsent: Bool {
        if case .absent = update { true } else { false }
    }

    init(
        _ plan: SublayerPlan, before: Norm?, after: Norm?, last: Norm?, update: Update, tensors: [StoredTensor]
    ) {
        self.plan = plan
        self.before = before
        self.after = after
        self.last = last
        self.update = update
        self.tensors = tensors
    }

    /// The matrices, in the order in which their gradients are kept: those that read the input first, that of the update
    /// last; of a mixture router, experts, shared expert and its gate.
    var projections: [Projection] {
        switch update {
        case .attention(let attention): attention.inputs + [attention.output]
        case .feedForward(let feedForward): feedForward.projections
        case .mixture(let mixture): mixture.projections
        case .absent: []
        }
    }

    /// The matrix whose product is the update; nil for a mixture, which has several, and where there is no update.
    var lastProjection: Projection? {
        switch update {
        case .attention(let attention): attention.output
        case .feedForward(let feedForward): feedForward.down
        case .mixture, .absent: nil
        }
    }

    var attention: AttentionWeights? {
        if case .attention(let attention) = update { attention } else { nil }
    }

    /// The bias that may take up a constant which the hidden state is to gain; nil if there is none, or what comes after it
    /// would change the constant.
    var foldableBias: StoredVector? { plan.addsPlainly ? lastProjection?.bias : nil }
}
