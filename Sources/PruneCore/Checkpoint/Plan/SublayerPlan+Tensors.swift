// SPDX-License-Identifier: Apache-2.0
/// Names and shapes of tensors that plans ask for.
private typealias Tensors = [(name: String, shape: [Int])]

extension SublayerPlan {
    /// Every tensor that the sublayer is computed from. One that holds several parts comes once for each.
    ///
    /// - Parameter headCount: of queries, as the sinks of an attention have it.
    func tensors(headCount: Int) -> [(name: String, shape: [Int])] {
        let own =
            switch update {
            case .attention(let attention): attention.tensors(headCount: headCount)
            case .feedForward(let feedForward): feedForward.tensors
            case .mixture(let mixture): mixture.tensors
            }
        return own + [before, after, last].flatMap { $0?.tensors ?? [] }
    }
}

extension NormPlan {
    fileprivate var tensors: Tensors {
        let width = max(gains.count, 1) * shape.reduce(1, *)
        return gains.map { ($0, shape) } + (bias.map { [($0, [width])] } ?? [])
    }
}

extension ProjectionPlan {
    fileprivate var tensors: Tensors {
        [weight, bias].compactMap(\.self).map { ($0.tensor, $0.shape) }
    }
}

extension AttentionPlan {
    fileprivate func tensors(headCount: Int) -> Tensors {
        let inputs =
            switch inputs {
            case .separate(let query, let key, let value): [query, key, value]
            case .headByHead(let all): [all]
            }
        return (inputs + [output]).flatMap(\.tensors)
            + [queryNorm, keyNorm].flatMap { $0?.norm.tensors ?? [] }
            + (sinks.map { [($0, [headCount])] } ?? [])
    }
}

extension FeedForwardPlan {
    fileprivate var tensors: Tensors {
        let inputs =
            switch inputs {
            case .gated(let gate, let up): [gate, up]
            case .alternating(let both): [both]
            case .plain(let only): [only]
            }
        return (inputs + [down]).flatMap(\.tensors)
    }
}

extension MixturePlan {
    fileprivate var tensors: Tensors {
        router.tensors + experts.flatMap(\.tensors) + (shared?.tensors ?? []) + (sharedGate?.tensors ?? [])
    }
}
