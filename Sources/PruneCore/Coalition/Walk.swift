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
    /// Tokens computed together at most.
    public var batchTokens: Int
    /// Bytes for held branch states at most; nil = a quarter of the memory that is free.
    public var memoryBudget: Int?

    public init(batchTokens: Int = TokenData.usualBatch, memoryBudget: Int? = nil) {
        self.batchTokens = batchTokens
        self.memoryBudget = memoryBudget
    }

    /// Branch states of a batch that fit the budget.
    func heldStates(_ batch: TokenBatch, _ shape: ModelShape) -> Int {
        let bytes = batch.rowCount * shape.hiddenSize * MemoryLayout<Float>.stride
        return (memoryBudget ?? Runtime.freeMemory / 4) / max(bytes, 1)
    }
}

/// Walks some masks over every batch of a data set as one prefix tree, and calls `visit` at each of its ends.
///
/// - Parameters:
///   - masks: may repeat; each distinct one is walked once.
///   - reference: a mask whose state every visit needs; nil = none. Walked with the others if that is how it comes first,
///     as the mask that keeps everything does; else computed apart, once per batch.
///   - visit: told batch, the places in `masks` that the end stands for, the hidden state after the last sublayer, and
///     that of the reference.
/// Errors: those of the model and of `visit`; `.argument` for a mask of another length; `.cancelled`.
func walk(
    _ model: any Model, _ batches: [TokenBatch], under masks: [KeepMask], reference: KeepMask? = nil,
    _ options: WalkOptions, stage: String, progress: ProgressMeter.Listener?,
    visit: @escaping (
        _ batch: TokenBatch, _ places: [Int], _ state: any HiddenState, _ reference: (any HiddenState)?
    ) throws(PruneError) -> Void
) throws(PruneError) -> WalkReport {
    let references = reference.map { [$0] } ?? []
    for mask in masks + references { try model.shape.check(mask) }
    let whole = MaskTree(masks + references)
    let apart = whole.places.last == 0 ? nil : reference
    let tree = apart == nil ? whole : MaskTree(masks)
    var placesOfEnd = Array(repeating: [Int](), count: tree.masks.count)
    for (place, end) in tree.places.enumerated() where place < masks.count { placesOfEnd[end].append(place) }
    let placesOf = placesOfEnd
    let steps = tree.sublayers + tree.masks.count + (apart?.keptCount ?? 0)
    let meter = ProgressMeter(stage: stage, total: batches.count * steps, listener: progress)
    var report = WalkReport()
    for batch in batches {
        var referenceState: (any HiddenState)?
        if let apart {
            referenceState = try model.run(try model.start(batch), under: apart) { (_, _, _) throws(PruneError) in
                try meter.advance()
            }
            report.sublayersComputed += apart.keptCount
        }
        var walk = MaskTreeWalk(
            model, batch, tree.masks, heldStates: options.heldStates(batch, model.shape), meter: meter
        ) { (end, state) throws(PruneError) in
            if reference != nil, referenceState == nil { referenceState = state }
            if !placesOf[end].isEmpty { try visit(batch, placesOf[end], state, referenceState) }
            try meter.advance()
        }
        try walk.run()
        report.sublayersComputed += walk.sublayersComputed
        report.tokens += batch.rowCount
    }
    let alone = masks + references.filter { !masks.contains($0) }
    report.sublayersNaive = batches.count * alone.reduce(0) { $0 + $1.keptCount }
    report.seconds = meter.seconds
    return report
}
