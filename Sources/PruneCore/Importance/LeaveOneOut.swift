/// What the removal of each unit does to the model, one unit at a time.
public struct LeaveOneOut: Sendable {
    /// Loss without the unit - loss with it, nats; weighted mean over predicted tokens.
    public let loss: [Double]
    /// Mean of ||logits with - logits without||_2 over the same tokens, with the same weights; nil if not asked for.
    public let logitL2: [Double]?
}

/// Removes each unit that is not wholly removed already from `mask`, and measures loss and, if asked, logits.
///
/// A unit is skipped where the pass under `mask` reaches it, so what stands before it is computed once for all units.
/// A wholly removed unit scores 0. Errors: `.data` if there is nothing to predict; `.nonFinite`; `.cancelled`.
public func leaveOneOut(
    _ model: any Model, _ data: TokenData, _ granularity: Granularity, from mask: KeepMask, logitL2: Bool = true,
    batchTokens: Int = TokenData.usualBatch, progress: ProgressMeter.Listener? = nil
) throws(PruneError) -> LeaveOneOut {
    try model.shape.check(mask)
    let batches = data.batches(of: batchTokens)
    try checkPredicts(batches)
    let units = (0..<granularity.unitCount(blocks: mask.blockCount)).filter { mask.keepsAny(ofUnit: $0, granularity) }
    let stepsOfUnits = units.reduce(0) { steps, unit in
        steps + mask.kept.count { $0 > granularity.sublayers(ofUnit: unit).upperBound }
    }
    let meter = ProgressMeter(
        stage: "leave one out", total: batches.count * (2 * mask.kept.count + stepsOfUnits), listener: progress)
    let count = { (_: Int, _: any HiddenState, _: any HiddenState) throws(PruneError) in try meter.advance() }

    var base = TokenMean()
    var losses = Array(repeating: TokenMean(), count: granularity.unitCount(blocks: mask.blockCount))
    var distances = losses
    for batch in batches {
        let rows = batch.predictingRows(weighted: true)
        let start = try model.start(batch)
        let reference = try model.run(start, under: mask, visit: count)
        base.add(try finiteLosses(model, reference, rows, mask), at: rows, of: batch)
        var state = start
        var reached = 0
        for unit in units {
            let own = granularity.sublayers(ofUnit: unit)
            state = try model.run(state, from: reached, to: own.lowerBound, under: mask, visit: count)
            reached = own.lowerBound
            let without = mask.removing(unit: unit, granularity)
            let end = try model.run(state, from: own.upperBound + 1, under: without, visit: count)
            losses[unit].add(try finiteLosses(model, end, rows, without), at: rows, of: batch)
            if logitL2 {
                distances[unit].add(try model.distances(end, to: reference, .l2, at: rows), at: rows, of: batch)
            }
        }
        try meter.advance(by: mask.kept.count { $0 >= reached })
    }
    let removed = Set(losses.indices).subtracting(units)
    return LeaveOneOut(
        loss: losses.indices.map { removed.contains($0) ? 0 : losses[$0].mean - base.mean },
        logitL2: logitL2 ? distances.indices.map { removed.contains($0) ? 0 : distances[$0].mean } : nil)
}
