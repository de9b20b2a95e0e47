/// A quantity of a masked model, per predicting token.
enum TokenQuantity: Sendable, Equatable {
    /// Negative log-likelihood of the token that follows, nats.
    case loss
    /// Distance of the logits to those of the reference mask.
    case distance(LogitDistance)
}

/// Some quantities of a model under each of some masks, as weighted means over the predicted tokens of a data set.
struct Measurement {
    /// One row per mask, one entry per quantity.
    let means: [[TokenMean]]
    let report: WalkReport

    /// - Parameter reference: the mask to whose logits distances are taken; nil = everything kept.
    /// Errors: `.data` if there is nothing to predict; `.nonFinite` naming the layer; those of `walk`.
    init(
        _ model: any Model, _ data: TokenData, under masks: [KeepMask], _ quantities: [TokenQuantity],
        reference: KeepMask? = nil, _ options: WalkOptions, stage: String, progress: ProgressMeter.Listener?
    ) throws(PruneError) {
        let batches = data.batches(of: options.batchTokens)
        try checkPredicts(batches)
        let needsReference = quantities.contains { $0 != .loss }
        let reference = reference ?? KeepMask(blocks: model.shape.blockCount)
        var means = Array(repeating: Array(repeating: TokenMean(), count: quantities.count), count: masks.count)
        report = try walk(
            model, batches, under: masks, reference: needsReference ? reference : nil, options, stage: stage,
            progress: progress
        ) { (batch, places, state, referenceState) throws(PruneError) in
            let rows = batch.predictingRows(weighted: true)
            guard !rows.isEmpty, let first = places.first else { return }
            for (index, quantity) in quantities.enumerated() {
                let values: [Float]
                switch quantity {
                case .loss:
                    values = try finiteLosses(model, state, at: rows, under: masks[first])
                case .distance(let kind):
                    guard let referenceState else { throw PruneError(.internal, "the reference mask was not walked") }
                    values = try model.distances(state, to: referenceState, kind, at: rows)
                    guard values.allSatisfy(\.isFinite) else {
                        throw try model.nonFiniteError(in: batch, under: masks[first], reference)
                    }
                }
                for place in places { means[place][index].add(values, at: rows, of: batch) }
            }
        }
        self.means = means
    }
}
