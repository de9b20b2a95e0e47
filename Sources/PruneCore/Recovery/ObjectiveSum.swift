// SPDX-License-Identifier: Apache-2.0
/// An objective over some tokens, as running sums in double.
struct ObjectiveSum: Sendable {
    var sum = 0.0
    /// Of the predicted tokens' weights; of `mse`, the sum of squares of the full model's states.
    var weight = 0.0

    var mean: Double { sum / weight }

    static func += (total: inout ObjectiveSum, part: ObjectiveSum) {
        total.sum += part.sum
        total.weight += part.weight
    }
}

extension RecoveryObjective {
    /// Whether it compares with the full model.
    var needsReference: Bool { self == .mse || self == .kl || self == .js }
}

extension Model {
    /// A trained objective of a state after the last sublayer.
    ///
    /// - Parameter reference: the full model's state of the same batch, for objectives that compare.
    /// Errors: those of the model.
    func objective(
        _ objective: RecoveryObjective, of state: any HiddenState, reference: (any HiddenState)?
    ) throws(PruneError) -> ObjectiveSum {
        if objective == .mse { return try squaredDifference(state, reference) }
        let rows = state.batch.predictingRows(weighted: true)
        guard !rows.isEmpty else { return ObjectiveSum() }
        let values =
            switch try headObjective(objective, reference) {
            case .crossEntropy: try losses(state, at: rows, of: state.batch.followers(of: rows))
            case .kl(let reference): try distances(state, to: reference, .kl, at: rows)
            case .js(let reference): try distances(state, to: reference, .js, at: rows)
            }
        return try weighted(values, by: state.batch.weights(ofPredicting: rows))
    }

    /// The same, and the gradient of its sum (not its mean) with respect to the state; nil if nothing is predicted.
    func objectivePullback(
        _ objective: RecoveryObjective, of state: any HiddenState, reference: (any HiddenState)?
    ) throws(PruneError) -> (value: ObjectiveSum, gradient: (any HiddenState)?) {
        if objective == .mse {
            return (try squaredDifference(state, reference), try difference(state, reference))
        }
        let rows = state.batch.predictingRows(weighted: true)
        guard !rows.isEmpty else { return (ObjectiveSum(), nil) }
        let weights = state.batch.weights(ofPredicting: rows)
        let (losses, gradient) = try headPullback(
            state, try headObjective(objective, reference), at: rows, weights: weights)
        return (try weighted(losses, by: weights), gradient)
    }

    private func headObjective(
        _ objective: RecoveryObjective, _ reference: (any HiddenState)?
    ) throws(PruneError) -> HeadObjective {
        switch (objective, reference) {
        case (.crossEntropy, _): return .crossEntropy
        case (.kl, let reference?): return .kl(reference)
        case (.js, let reference?): return .js(reference)
        default: throw PruneError(.internal, "\(objective.name) was asked of a head, or had nothing to compare with")
        }
    }

    private func weighted(_ values: [Float], by weights: [Float]) throws(PruneError) -> ObjectiveSum {
        guard values.count == weights.count else {
            throw PruneError(.internal, "the model returned losses of other rows than asked for")
        }
        var total = ObjectiveSum()
        for (value, weight) in zip(values, weights) {
            total.sum += Double(weight) * Double(value)
            total.weight += Double(weight)
        }
        return total
    }

    /// The sum of squares of the difference, over that of the reference: all rows alike, whatever their tokens weigh.
    private func squaredDifference(
        _ state: any HiddenState, _ reference: (any HiddenState)?
    ) throws(PruneError) -> ObjectiveSum {
        guard let reference else { throw PruneError(.internal, "mse had nothing to compare with") }
        return try read(state) { own throws(PruneError) in
            try read(reference) { other throws(PruneError) in
                var total = ObjectiveSum()
                for index in 0..<min(own.count, other.count) {
                    let (value, wanted) = (Double(own[index]), Double(other[index]))
                    total.sum += (value - wanted) * (value - wanted)
                    total.weight += wanted * wanted
                }
                return total
            }
        }
    }

    /// Twice the difference to the reference: the gradient of its sum of squares.
    private func difference(
        _ state: any HiddenState, _ reference: (any HiddenState)?
    ) throws(PruneError) -> any HiddenState {
        guard let reference else { throw PruneError(.internal, "mse had nothing to compare with") }
        return try read(state) { own throws(PruneError) in
            try read(reference) { other throws(PruneError) in
                try write(like: state) { out throws(PruneError) in
                    for index in 0..<min(own.count, other.count, out.count) {
                        out[index] = 2 * (own[index] - other[index])
                    }
                }
            }
        }
    }
}

extension TokenBatch {
    /// How much the token after each of these predicting rows counts.
    func weights(ofPredicting rows: [Int]) -> [Float] {
        guard let weights = data.weights else { return Array(repeating: 1, count: rows.count) }
        return rows.map { weights[tokens.lowerBound + $0 + 1] }
    }
}
