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
    fileprivate var projections: [ProjectionPlan] {
        switch inputs {
        case .separate(let query, let key, let value): [query, key, value, output]
        case .headByHead(let all): [all, output]
        }
    }

    fileprivate func tensors(headCount: Int) -> Tensors {
        projections.flatMap(\.tensors)
            + [queryNorm, keyNorm].flatMap { $0?.norm.tensors ?? [] }
            + (sinks.map { [($0, [headCount])] } ?? [])
    }
}

extension FeedForwardPlan {
    fileprivate var projections: [ProjectionPlan] {
        switch inputs {
        case .gated(let gate, let up): [gate, up, down]
        case .alternating(let both): [both, down]
        case .plain(let only): [only, down]
        }
    }

    fileprivate var tensors: Tensors { projections.flatMap(\.tensors) }
}

extension MixturePlan {
    fileprivate var projections: [ProjectionPlan] {
        [router] + experts.flatMap(\.projections) + (shared?.projections ?? []) + (sharedGate.map { [$0] } ?? [])
    }

    fileprivate var tensors: Tensors { projections.flatMap(\.tensors) }
}

extension SublayerPlan {
    /// Where the matrices of the sublayer and the biases of their products are stored, always in the same order.
    var projectionPlaces: [ProjectionPlan.Place] {
        let projections =
            switch update {
            case .attention(let attention): attention.projections
            case .feedForward(let feedForward): feedForward.projections
            case .mixture(let mixture): mixture.projections
            }
        return projections.flatMap { [$0.weight, $0.bias].compactMap(\.self) }
    }
}
