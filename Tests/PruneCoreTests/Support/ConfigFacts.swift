// SPDX-License-Identifier: Apache-2.0
@testable import PruneCore

/// What the plans of a model say, in the words of config.json. Facts that may differ from block to block are those of the
/// first, unless they are lists.
extension ModelConfig {
    func attention(ofBlock block: Int) -> AttentionPlan {
        guard case .attention(let plan) = sublayers[2 * block].update else { fatalError("sublayer is no attention") }
        return plan
    }

    /// nil = a mixture.
    func feedForward(ofBlock block: Int) -> FeedForwardPlan? {
        if case .feedForward(let plan) = sublayers[2 * block + 1].update { plan } else { nil }
    }

    /// nil = dense.
    func mixture(ofBlock block: Int) -> MixturePlan? {
        if case .mixture(let plan) = sublayers[2 * block + 1].update { plan } else { nil }
    }

    /// By block.
    var windows: [Int?] { (0..<blockCount).map { window(ofBlock: $0) } }
    var rotations: [RotaryParameters?] { (0..<blockCount).map { attention(ofBlock: $0).rotary } }

    var rotary: RotaryParameters? { rotations[0] }
    var normEpsilon: Float? { sublayers[0].before?.epsilon }
    var activation: Activation? { feedForward(ofBlock: 0)?.activation }
    var hasQueryKeyNorm: Bool { attention(ofBlock: 0).queryNorm != nil && attention(ofBlock: 0).keyNorm != nil }
    var hasOutputBias: Bool { attention(ofBlock: 0).output.bias != nil }

    var hasQueryKeyValueBias: Bool {
        switch attention(ofBlock: 0).inputs {
        case .separate(let query, let key, let value): [query, key, value].allSatisfy { $0.bias != nil }
        case .headByHead(let all): all.bias != nil
        }
    }

    var hasFeedForwardBias: Bool {
        feedForward(ofBlock: 0).map { plan in (plan.projections + [plan.down]).allSatisfy { $0.bias != nil } } ?? false
    }
}

extension FeedForwardPlan {
    /// Those before the activation.
    var projections: [ProjectionPlan] {
        switch inputs {
        case .gated(let gate, let up): [gate, up]
        case .alternating(let both): [both]
        case .plain(let only): [only]
        }
    }
}
