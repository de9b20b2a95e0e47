// SPDX-License-Identifier: Apache-2.0
/// The weights of one attention sublayer, its norms aside.
final class AttentionWeights: Sendable {
    let plan: AttentionPlan
    /// Query, key and value, or one projection that gives them head by head.
    let inputs: [Projection]
    let output: Projection
    let queryNorm, keyNorm: Norm?
    let sinks: StoredVector?
    /// nil = heads are not turned.
    let rotary: RotaryTable?

    init(
        _ plan: AttentionPlan, inputs: [Projection], output: Projection, queryNorm: Norm?, keyNorm: Norm?,
        sinks: StoredVector?, rotary: RotaryTable?
    ) {
        self.plan = plan
        self.inputs = inputs
        self.output = output
        self.queryNorm = queryNorm
        self.keyNorm = keyNorm
        self.sinks = sinks
        self.rotary = rotary
    }
}

/// The weights of one feed-forward sublayer or expert.
final class FeedForwardWeights: Sendable {
    let inputs: Inputs
    let down: Projection
    let activation: Activation

    enum Inputs: Sendable {
        case gated(gate: Projection, up: Projection)
        case alternating(Projection)
        case plain(Projection)
    }

    init(inputs: Inputs, down: Projection, activation: Activation) {
        self.inputs = inputs
        self.down = down
        self.activation = activation
    }

    var inputProjections: [Projection] {
        switch inputs {
        case .gated(let gate, let up): [gate, up]
        case .alternating(let both): [both]
        case .plain(let only): [only]
        }
    }

    var projections: [Projection] { inputProjections + [down] }
}

final class MixtureWeights: Sendable {
    let plan: MixturePlan
    let router: Projection
    let experts: [FeedForwardWeights]
    let shared: FeedForwardWeights?
    let sharedGate: Projection?

    init(
        _ plan: MixturePlan, router: Projection, experts: [FeedForwardWeights], shared: FeedForwardWeights?,
        sharedGate: Projection?
    ) {
        self.plan = plan
        self.router = router
        self.experts = experts
        self.shared = shared
        self.sharedGate = sharedGate
    }

    var projections: [Projection] {
        [router] + experts.flatMap(\.projections) + (shared?.projections ?? []) + (sharedGate.map { [$0] } ?? [])
    }
}

/// The weights of one sublayer. Classes, as its parts are: they are passed around in every call, and never change.
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
        }
    }

    /// The matrix whose product is the update; nil for a mixture, which has several.
    var lastProjection: Projection? {
        switch update {
        case .attention(let attention): attention.output
        case .feedForward(let feedForward): feedForward.down
        case .mixture: nil
        }
    }

    var attention: AttentionWeights? {
        if case .attention(let attention) = update { attention } else { nil }
    }

    /// Whether the update is added to the hidden state as it is.
    var addsPlainly: Bool { after == nil && last == nil && plan.scale == 1 }

    /// The bias that may take up a constant which the hidden state is to gain; nil if there is none, or what comes after it
    /// would change the constant.
    var foldableBias: StoredVector? { addsPlainly ? lastProjection?.bias : nil }
}
