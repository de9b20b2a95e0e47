// SPDX-License-Identifier: Apache-2.0
/// The first-order estimate of what each unit is worth: the sum of |w * d(loss)/dw| over its matrices, with the loss the
/// weighted mean over all predicted tokens under a mask (Shortened LLaMA, arXiv 2402.02834, section 3.1).
///
/// A unit that is wholly removed scores 0. The gradients of as many sublayers as a quarter of the free memory holds, beside
/// the hidden states of a batch, are summed in one pass over the data; the rest waits for another pass, which changes no
/// score. Errors: `.unsupported` if the model gives no gradients; `.data` if there is nothing to predict; `.nonFinite`;
/// `.cancelled`; `.memory`.
///
/// - Parameter memory: bytes to use instead.
func taylor(
    _ model: any Model, _ data: TokenData, _ granularity: Granularity, under mask: KeepMask, batchTokens: Int,
    memory: Int? = nil, progress: ProgressMeter.Listener? = nil
) throws(PruneError) -> [Double] {
    guard model.readsWeights else {
        throw PruneError(
            .unsupported,
            "taylor needs the weights and their gradients, which only models that PruneCore runs itself give")
    }
    guard model.hasGradients else { throw model.noGradients }
    let batches = data.batches(of: batchTokens)
    try checkPredicts(batches)
    let groups = model.gradientGroups(under: mask, batches, memory ?? Memory.free / 4)
    let kept = mask.kept
    let steps = groups.reduce(0) { sum, group in sum + kept.count + kept.filter { $0 >= group.lowerBound }.count }
    let meter = ProgressMeter(stage: "taylor", total: steps * batches.count, listener: progress)
    var scores = [Double](repeating: 0, count: mask.keeps.count)
    for group in groups {
        var sums: [Int: WeightGradients] = [:]
        for sublayer in group where mask.keeps(sublayer) {
            sums[sublayer] = try model.weightGradients(ofSublayer: sublayer)
        }
        let whole = batches.reduce(0.0) { $0 + $1.predictionWeights.reduce(0, +) }
        for batch in batches {
            try model.addLossGradients(batch, under: mask, whole: whole, to: sums, from: group.lowerBound, meter)
        }
        for (sublayer, own) in sums {
            let score = try model.taylor(ofSublayer: sublayer, own)
            guard score.isFinite else {
                throw PruneError(.nonFinite, "the gradient of the weights of \(sublayerName(sublayer)) is not finite")
            }
            scores[sublayer] = score
        }
    }
    return (0..<granularity.unitCount(blocks: mask.blockCount)).map { unit in
        granularity.sublayers(ofUnit: unit).reduce(0) { $0 + scores[$1] }
    }
}

extension Model {
    /// The kept sublayers, cut into groups whose gradients fit into `memory` bytes beside the states of the largest batch;
    /// at least one in each.
    fileprivate func gradientGroups(
        under mask: KeepMask, _ batches: [TokenBatch], _ memory: Int
    ) -> [Range<Int>] {
        // Cannot overflow: tokens and weights lie in memory.
        let stateBytes = 4 * shape.hiddenSize * (batches.map(\.rowCount).max() ?? 0)
        let most = (memory - stateBytes * (mask.kept.count + 2)) / 4
        let weights = shape.sublayers.enumerated().map { mask.keeps($0) ? $1.parameters : 0 }
        return consecutiveGroups(ofRows: weights, atMost: most).filter { group in group.contains(where: mask.keeps) }
    }

    /// Runs a batch forwards and backwards, and adds to `sums` the gradients of its part of the mean loss, with respect to
    /// the weights of sublayers of which `first` is the lowest.
    ///
    /// - Parameter whole: the weight of all predicted tokens.
    fileprivate func addLossGradients(
        _ batch: TokenBatch, under mask: KeepMask, whole: Double, to sums: [Int: WeightGradients], from first: Int,
        _ meter: ProgressMeter
    ) throws(PruneError) {
        let rows = batch.predictingRows(weighted: true)
        guard !rows.isEmpty else {
            return try meter.advance(by: mask.kept.count + mask.kept.filter { $0 >= first }.count)
        }
        var states: [(sublayer: Int, before: any HiddenState)] = []
        let last = try run(try start(batch), under: mask) { (sublayer, before, _) throws(PruneError) in
            if sublayer >= first { states.append((sublayer, before)) }
            try meter.advance()
        }
        let (losses, slope) = try headPullback(
            last, .crossEntropy, at: rows, weights: batch.predictionWeights.map { Float($0 / whole) })
        guard losses.allSatisfy(\.isFinite) else { throw try nonFiniteError(in: batch, under: mask) }
        var gradients = [slope]
        // Each state is released as soon as the gradient has passed it.
        while let (sublayer, before) = states.popLast() {
            if let sum = sums[sublayer] {
                gradients = try pullback(sublayer, at: [before], of: gradients, addingTo: sum)
            } else {
                gradients = try pullback(sublayer, at: [before], of: gradients)
            }
            try meter.advance()
        }
    }
}

extension TokenBatch {
    /// What the loss of each of `predictingRows(weighted: true)` counts.
    fileprivate var predictionWeights: [Double] {
        let rows = predictingRows(weighted: true)
        guard let weights = data.weights else { return rows.map { _ in 1 } }
        return rows.map { Double(weights[tokens.lowerBound + $0 + 1]) }
    }
}
