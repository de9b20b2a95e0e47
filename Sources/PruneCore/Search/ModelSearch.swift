// SPDX-License-Identifier: Apache-2.0
/// How a model runs a search.
public struct SearchRun: Sendable {
    public var measure: Measure
    /// Cap of the measure; nil = none.
    public var cap: Double?
    public var reference: KeepMask?
    public var walk: WalkOptions
    /// What scores are made of that the search lacks; nil = the usual one of its strategy.
    public var metric: Metric?
    public var batchMasks: Int

    /// Masks evaluated together if the caller does not say.
    public static let usualBatch = 64

    public init(
        measure: Measure = .loss, cap: Double? = nil, reference: KeepMask? = nil, walk: WalkOptions = WalkOptions(),
        metric: Metric? = nil, batchMasks: Int = usualBatch
    ) {
        self.measure = measure
        self.cap = cap
        self.reference = reference
        self.walk = walk
        self.metric = metric
        self.batchMasks = batchMasks
    }
}

/// A search that a host holds: it may be read while a model runs it.
public typealias SharedSearch = Shared<Search>

/// Sequences from which on damages on a share of the data are worth having: the least share then is a whole sequence.
private let leastPartsForShares = 16

/// Runs a search on a model until it is done: scores where scores are lacking, asks, evaluates, tells.
///
/// - Parameters:
///   - listener: told after every batch; returns true to stop. The search is not locked meanwhile.
///   - walkListener: told while a batch is evaluated; returns true to stop.
/// Errors: `.argument` if the search is of another model; `.cancelled`; those of `damages` and `score`. The search is whole
/// after every one of them, and what was asked for and not told is asked for again.
public func run(
    _ shared: SharedSearch, _ model: any Model, _ data: TokenData, _ run: SearchRun, listener: (() -> Bool)? = nil,
    walkListener: ProgressMeter.Listener? = nil
) throws(PruneError) {
    let (options, lacksScores, begun) = try shared.with { (search) throws(PruneError) in
        search.askAgain()
        return (search.options, search.lacksScores, search.takesShares)
    }
    guard options.costs.blockCount == model.shape.blockCount else {
        throw PruneError(
            .argument,
            "the search was made for a model of \(options.costs.blockCount) blocks, but this one has \(model.shape.blockCount)"
        )
    }
    if lacksScores, let scores = try scores(model, data, options, run, walkListener) {
        try shared.with { (search) throws(PruneError) in try search.setScores(scores) }
    }
    let takesShares = begun ?? (data.partCount >= leastPartsForShares)
    while true {
        let (masks, share) = try shared.with { (search) throws(PruneError) in
            try search.ask(run.batchMasks, takesShares: takesShares)
        }
        if masks.isEmpty { return }
        let result: (values: [Double], report: WalkReport)
        do throws(PruneError) {
            result = try damages(
                model, try data.first(share), under: masks, run.measure, cap: run.cap, reference: run.reference,
                run.walk,
                stage: "search", progress: walkListener)
        } catch {
            try shared.with { (search) throws(PruneError) in search.askAgain() }
            throw error
        }
        let told = try shared.with { (search) throws(PruneError) in
            try search.tell(masks, result.values)
            search.sublayersComputed += result.report.sublayersComputed
            search.sublayersNaive += result.report.sublayersNaive
            return search.state.told
        }
        if let listener, listener() {
            throw PruneError(.cancelled, "cancelled by the progress callback after \(told) masks")
        }
    }
}

/// The scores that a search lacks; nil where it goes by damages instead.
private func scores(
    _ model: any Model, _ data: TokenData, _ options: SearchOptions, _ run: SearchRun,
    _ progress: ProgressMeter.Listener?
) throws(PruneError) -> [Double]? {
    guard options.strategy == .window else {
        let request = ScoreRequest(
            metrics: [run.metric ?? .cosine], granularity: options.granularity, mask: options.start,
            batchTokens: run.walk.batchTokens)
        return try score(model, data, request, progress: progress).first
    }
    if run.metric == .leaveOneOutLoss { return nil }
    // Distances over windows are of blocks, and need hidden states. A task's accuracy or choice loss that is asked for is
    // what the run is chosen by (Minitron, arXiv 2408.11796), as is any other measure.
    if run.metric == nil, options.granularity != .block || !model.readsStates || run.measure != .loss { return nil }
    guard run.metric ?? .angular == .angular, options.granularity == .block else {
        throw PruneError(
            .argument,
            "options.metric of a window search is the angular distance, of blocks, or the leave-one-out loss: the damage of each run"
        )
    }
    try ModelStatistics.requireWindows(2, blocks: options.costs.blockCount)
    var statistics = ModelStatistics(blocks: options.costs.blockCount, windows: true)
    let batches = data.batches(of: run.walk.batchTokens)
    let meter = ProgressMeter(
        stage: "score", total: ModelStatistics.steps(batches, under: options.start), listener: progress)
    try statistics.collect(model, batches, under: options.start, meter)
    return try statistics.windowDistances()
}
