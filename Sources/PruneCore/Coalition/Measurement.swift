// SPDX-License-Identifier: Apache-2.0
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
        if !needsReference,
            let whole = try WholeLosses(model, data, batches, under: masks, stage: stage, progress: progress)
        {
            means = whole.means.map { [$0] }
            report = whole.report
            return
        }
        let reference = reference ?? model.shape.present
        var means = Array(repeating: Array(repeating: TokenMean(), count: quantities.count), count: masks.count)
        report = try walk(
            model, batches, under: masks, reference: needsReference ? reference : nil, options, stage: stage,
            progress: progress
        ) { ends throws(PruneError) in
            let rowsOfEnds = ends.map { $0.batch.predictingRows(weighted: true) }
            let predicting = ends.indices.filter { !rowsOfEnds[$0].isEmpty }
            let (ends, rows) = (predicting.map { ends[$0] }, predicting.map { rowsOfEnds[$0] })
            for (index, quantity) in quantities.enumerated() {
                let values: [[Float]]
                switch quantity {
                case .loss:
                    values = try finiteLosses(model, ends, at: rows, under: masks)
                case .distance(let kind):
                    values = try zip(ends, rows).map { end, rows throws(PruneError) in
                        try finiteDistances(model, end, kind, at: rows, under: masks, reference)
                    }
                }
                for (end, (rows, values)) in zip(ends, zip(rows, values)) {
                    for place in end.places { means[place][index].add(values, at: rows, of: end.batch) }
                }
            }
        }
        self.means = means
    }
}

/// The losses of the tokens that follow some rows, of all ends together. Errors: `.nonFinite` naming the layer.
private func finiteLosses(
    _ model: any Model, _ ends: [WalkEnd], at rows: [[Int]], under masks: [KeepMask]
) throws(PruneError) -> [[Float]] {
    let losses = try model.losses(
        zip(ends, rows).map { end, rows in
            LossRequest(state: end.state, rows: rows, tokens: end.batch.followers(of: rows))
        })
    guard losses.map(\.count) == rows.map(\.count) else {
        throw PruneError(.internal, "the model returned losses of other rows than asked for")
    }
    for (end, own) in zip(ends, losses) where !own.allSatisfy(\.isFinite) {
        throw try model.nonFiniteError(in: end.batch, under: masks[end.places[0]])
    }
    return losses
}

/// The distances of some rows of an end to the reference. Errors: `.nonFinite` naming the layer.
private func finiteDistances(
    _ model: any Model, _ end: WalkEnd, _ kind: LogitDistance, at rows: [Int], under masks: [KeepMask],
    _ reference: KeepMask
) throws(PruneError) -> [Float] {
    guard let referenceState = end.reference else { throw PruneError(.internal, "the reference mask was not walked") }
    let values = try model.distances(end.state, to: referenceState, kind, at: rows)
    guard values.count == rows.count else {
        throw PruneError(.internal, "the model returned distances of other rows than asked for")
    }
    guard values.allSatisfy(\.isFinite) else {
        throw try model.nonFiniteError(in: end.batch, under: masks[end.places[0]], reference)
    }
    return values
}
