// SPDX-License-Identifier: Apache-2.0
/// What evaluating some masks took.
public struct WalkReport: Sendable {
    /// Sublayers applied to a batch, and those it would have taken mask by mask.
    public var sublayersComputed = 0
    public var sublayersNaive = 0
    public var seconds = 0.0
    /// Tokens of the data.
    public var tokens = 0

    public init() {}
}

/// How masks are walked.
public struct WalkOptions: Sendable {
    /// Tokens of a batch at most, and rows that go through a sublayer in one call. Of a model that is read anew in
    /// every pass, several batches go through a sublayer one after the other.
    public var batchTokens: Int
    /// Bytes for hidden states at most, those under way included; nil = a quarter of the memory that is free. The
    /// states of one batch before and after a sublayer, and of the reference, are held whatever it is.
    public var memoryBudget: Int?
    /// Whether the model's weights are read anew in every pass; nil = as the model says.
    var rereadsWeights: Bool?

    public init(batchTokens: Int = TokenData.usualBatch, memoryBudget: Int? = nil) {
        self.batchTokens = batchTokens
        self.memoryBudget = memoryBudget
    }

    /// The same, with what is left to the library chosen: memory that is free changes, and walks with the same settled
    /// options take the same sublayers.
    func settled(for model: any Model) -> WalkOptions {
        var options = self
        options.memoryBudget = memoryBudget ?? Memory.free / 4
        options.rereadsWeights = rereadsWeights ?? model.rereadsWeights
        return options
    }
}

/// The end of a walk for one mask and batch.
struct WalkEnd {
    let batch: TokenBatch
    /// The places in the masks given that it stands for.
    let places: [Int]
    /// After the last sublayer.
    let state: any HiddenState
    /// That of the reference; nil if there is none.
    let reference: (any HiddenState)?
}

/// Walks some masks over every batch of a data set as one prefix tree, and calls `visit` at its ends.
///
/// - Parameters:
///   - masks: may repeat; each distinct one is walked once.
///   - reference: a mask whose state every visit needs; nil = none. Walked with the others if that is how it comes
///     first, as the mask that keeps everything does, and memory suffices; else computed apart, once per batch.
///   - visit: told some ends at a time; those of one mask come in the order of the batches.
/// Errors: those of the model and of `visit`; `.argument` for a mask of another length; `.cancelled`.
func walk(
    _ model: any Model, _ batches: [TokenBatch], under masks: [KeepMask], reference: KeepMask? = nil,
    _ options: WalkOptions, stage: String, progress: ProgressMeter.Listener?,
    visit: @escaping (_ ends: [WalkEnd]) throws(PruneError) -> Void
) throws(PruneError) -> WalkReport {
    // Places, branches and means of each mask; it stands in two dictionaries.
    try Memory.require(
        masks.count.times(clamping: 640).plus(clamping: batches.count.times(clamping: 256)),
        for: "\(masks.count) masks",
        "evaluate fewer at a time")
    let references = reference.map { [$0] } ?? []
    for mask in masks + references { try model.shape.check(mask) }
    let batchRows = batches.map(\.rowCount)
    var tree = MaskTree(masks + references)
    let plan = try WalkPlan(
        tree, batchRows: batchRows, options.settled(for: model), model.shape, reference: reference != nil)
    let limits = plan.waves.map { plan.limits(batchRows[$0]) }
    var apart: KeepMask?
    if let reference, tree.places.last != 0 || !limits.allSatisfy({ WaitingPrefixes(tree).canStartAtFront($0) }) {
        apart = reference
        tree = MaskTree(masks.filter { $0 != reference })
    }
    let steps = tree.sublayers + tree.masks.count + (apart?.keptCount ?? 0)
    let meter = ProgressMeter(stage: stage, total: batches.count * steps, listener: progress)
    var placesOfMask: [KeepMask: [Int]] = [:]
    for (place, mask) in masks.enumerated() { placesOfMask[mask, default: []].append(place) }
    let placesOfEnd = tree.masks.map { placesOfMask[$0] ?? [] }

    var report = WalkReport()
    for (wave, limits) in zip(plan.waves, limits) {
        let own = Array(batches[wave])
        var referenceStates: [any HiddenState] = []
        if let apart {
            referenceStates = try states(model, own, under: apart, limits, meter)
            report.sublayersComputed += own.count * apart.keptCount
            if let places = placesOfMask[apart] {
                for (batch, state) in zip(own, referenceStates) {
                    try visit([WalkEnd(batch: batch, places: places, state: state, reference: state)])
                }
            }
        }
        let referenceIsWalked = reference != nil && apart == nil
        var walk = MaskWalk(
            model, tree, own, limits, startsAtFront: referenceIsWalked, meter: meter
        ) { ends throws(PruneError) in
            // The reference comes first, of all batches, so that it is there when it is needed.
            if referenceIsWalked { referenceStates += ends.filter { $0.place == 0 }.map(\.state) }
            let wanted = ends.filter { !placesOfEnd[$0.place].isEmpty }.map { end in
                WalkEnd(
                    batch: own[end.batch], places: placesOfEnd[end.place], state: end.state,
                    reference: reference == nil ? nil : referenceStates[end.batch])
            }
            if !wanted.isEmpty { try visit(wanted) }
            try meter.advance(by: ends.count)
        }
        try walk.run()
        report.sublayersComputed += walk.sublayersComputed
    }
    report.tokens = batchRows.reduce(0, +)
    let alone = masks + references.filter { !masks.contains($0) }
    report.sublayersNaive = batches.count * alone.reduce(0) { $0 + $1.keptCount }
    report.seconds = meter.seconds
    return report
}

/// The states of some batches under one mask after the last sublayer.
private func states(
    _ model: any Model, _ batches: [TokenBatch], under mask: KeepMask, _ limits: WalkLimits, _ meter: ProgressMeter
) throws(PruneError) -> [any HiddenState] {
    var states: [any HiddenState] = []
    for batch in batches { states.append(try model.start(batch)) }
    for sublayer in mask.kept {
        let all = Array(states.indices)
        try model.apply(sublayer, to: &states, at: all, rowsPerCall: limits.rowsPerCall) { count throws(PruneError) in
            try meter.advance(by: count)
        }
    }
    return states
}
