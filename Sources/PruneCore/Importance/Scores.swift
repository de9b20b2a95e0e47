// SPDX-License-Identifier: Apache-2.0
/// What to score, and how.
public struct ScoreRequest: Sendable {
    public var metrics: [Metric]
    public var granularity: Granularity
    public var relativeTo: RelativeTo
    public var selection: TokenSelection
    public var mask: KeepMask
    public var batchTokens: Int

    public init(
        metrics: [Metric] = Metric.allStatic, granularity: Granularity = .sublayer, relativeTo: RelativeTo = .input,
        selection: TokenSelection = .all, mask: KeepMask, batchTokens: Int = TokenData.usualBatch
    ) {
        self.metrics = metrics
        self.granularity = granularity
        self.relativeTo = relativeTo
        self.selection = selection
        self.mask = mask
        self.batchTokens = batchTokens
    }
}

/// Scores every unit of a model: one row per metric of the request, one entry per unit.
///
/// Metrics of states share one forward pass; leave-one-out takes a pass per unit; taylor one pass forward and backward.
/// Errors: `.argument` if data is missing for a metric that needs it; `.unsupported` if the weights cannot be read for
/// magnitude, or the model gives no gradients for taylor; those of the passes.
public func score(
    _ model: any Model, _ data: TokenData?, _ request: ScoreRequest, progress: ProgressMeter.Listener? = nil
) throws(PruneError) -> [[Double]] {
    try model.shape.check(request.mask)
    let begin = ProgressMeter.now()
    let metrics = Set(request.metrics)
    var rows: [Metric: [Double]] = [:]
    if metrics.contains(.magnitude) { rows[.magnitude] = try magnitudes(model, request.granularity) }

    let needy = Metric.allCases.filter { metrics.contains($0) && $0.facts.needsData }
    guard let first = needy.first else { return request.metrics.compactMap { rows[$0] } }
    guard let data else {
        throw PruneError(.argument, "data is NULL, but \(first.facts.name) needs data; only magnitude does not")
    }
    /// Of a part of the call: its stage counts its steps anew; the seconds go on.
    func listener() -> ProgressMeter.Listener? {
        let before = ProgressMeter.now() - begin
        return progress.map { tell in { (own: Progress) in tell(own.later(by: before)) } }
    }
    let ofStates = Metric.ofStates.filter(metrics.contains)
    if !ofStates.isEmpty {
        guard !model.shape.hasWholeBlocks || request.granularity == .block else {
            throw PruneError(
                .unsupported, "this model's host runs whole blocks, and tells nothing of their sublayers; score blocks")
        }
        var statistics = ModelStatistics(blocks: model.shape.blockCount, selection: request.selection)
        let batches = data.batches(of: request.batchTokens)
        let steps = ModelStatistics.steps(batches, under: request.mask)
        let meter = ProgressMeter(stage: "score", total: steps, listener: listener())
        try statistics.collect(model, batches, under: request.mask, meter)
        for metric in ofStates {
            rows[metric] = try statistics.scores(metric, request.granularity, relativeTo: request.relativeTo)
        }
    }
    if !metrics.isDisjoint(with: Metric.allLeaveOneOut) {
        let damage = try leaveOneOut(
            model, data, request.granularity, from: request.mask, logitL2: metrics.contains(.leaveOneOutLogitL2),
            WalkOptions(batchTokens: request.batchTokens), progress: listener())
        rows[.leaveOneOutLoss] = damage.loss
        rows[.leaveOneOutLogitL2] = damage.logitL2
    }
    if metrics.contains(.taylor) {
        rows[.taylor] = try taylor(
            model, data, request.granularity, under: request.mask, batchTokens: request.batchTokens,
            progress: listener())
    }
    return request.metrics.compactMap { rows[$0] }
}

/// Sum of |w| over the matrices of each unit. Errors: `.unsupported` if the model's weights cannot be read.
func magnitudes(_ model: any Model, _ granularity: Granularity) throws(PruneError) -> [Double] {
    var sums: [Double] = []
    for unit in 0..<granularity.unitCount(blocks: model.shape.blockCount) {
        var sum = 0.0
        for sublayer in granularity.sublayers(ofUnit: unit) {
            guard let own = try model.magnitude(ofSublayer: sublayer) else {
                throw PruneError(.unsupported, "magnitude needs the weights, and this model does not give them")
            }
            sum += own
        }
        guard sum.isFinite else {
            throw PruneError(.nonFinite, "a weight of \(granularity.name(ofUnit: unit)) is not finite")
        }
        sums.append(sum)
    }
    return sums
}
