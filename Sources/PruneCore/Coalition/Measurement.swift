/// A quantity of a masked model, per predicting token.
enum TokenQuantity: Sendable, Equatable {
    /// Negative log-likelihood of the token that follows, nats.
    case loss
    /// Distance of the logits to those of the reference mask.
    case distance(LogitDistance)
}

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
///   - stepsAtEnds: steps of the progress meter that `visit` is counted as.
///   - visit: told batch, the places in `masks` that the end stands for, and the hidden state after the last sublayer.
///     Within a batch, the end of a mask comes after that of every mask that keeps all that it keeps.
/// Returns what it took; `sublayersNaive` is the caller's to count.
/// Errors: those of the model and of `visit`; `.argument` for a mask of another length; `.cancelled`.
func walk(
    _ model: any Model, _ batches: [TokenBatch], under masks: [KeepMask], _ options: WalkOptions, stage: String,
    progress: ProgressMeter.Listener?,
    visit: @escaping (_ batch: TokenBatch, _ places: [Int], _ state: any HiddenState) throws(PruneError) -> Void
) throws(PruneError) -> WalkReport {
    for mask in masks { try model.shape.check(mask) }
    let tree = MaskTree(masks)
    var placesOfEnd = Array(repeating: [Int](), count: tree.masks.count)
    for (place, end) in tree.places.enumerated() { placesOfEnd[end].append(place) }
    let placesOf = placesOfEnd
    let meter = ProgressMeter(
        stage: stage, total: batches.count * (tree.sublayers + tree.masks.count), listener: progress)
    var report = WalkReport()
    for batch in batches {
        var walk = MaskTreeWalk(
            model, batch, tree.masks, heldStates: options.heldStates(batch, model.shape), meter: meter
        ) { (end, state) throws(PruneError) in
            try visit(batch, placesOf[end], state)
            try meter.advance()
        }
        try walk.run()
        report.sublayersComputed += walk.sublayersComputed
        report.tokens += batch.rowCount
    }
    report.seconds = meter.seconds
    return report
}

/// Some quantities of a model under each of some masks, as weighted means over the predicted tokens of a data set.
struct Measurement {
    /// One row per mask, one entry per quantity.
    private(set) var means: [[TokenMean]]
    private(set) var report: WalkReport

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
        let sums = Accumulator(masks.count, quantities.count)
        report = try walk(
            model, batches, under: masks + (needsReference ? [reference] : []), options, stage: stage, progress: progress
        ) { (batch, places, state) throws(PruneError) in
            let rows = batch.predictingRows(weighted: true)
            guard !rows.isEmpty else { return }
            if places.last == masks.count { sums.reference = state }
            let own = places.filter { $0 < masks.count }
            guard let first = own.first else { return }
            for (index, quantity) in quantities.enumerated() {
                let values: [Float]
                switch quantity {
                case .loss:
                    values = try finiteLosses(model, state, rows, masks[first])
                case .distance(let kind):
                    // The reference keeps all that any mask of a walk keeps here, so it comes first; if it does not, it
                    // has to be computed apart.
                    let reference = try sums.reference(of: batch, reference, model)
                    values = try model.distances(state, to: reference, kind, at: rows)
                    guard values.allSatisfy(\.isFinite) else {
                        throw try model.nonFiniteError(in: batch, under: masks[first])
                    }
                }
                for place in own { sums.means[place][index].add(values, at: rows, of: batch) }
            }
        }
        let alone = masks + (needsReference && !masks.contains(reference) ? [reference] : [])
        report.sublayersNaive = batches.count * alone.reduce(0) { $0 + $1.keptCount }
        means = sums.means
    }

    /// The sums, and the reference state of the batch under way, shared with the walk's closure.
    private final class Accumulator {
        var means: [[TokenMean]]
        var reference: (any HiddenState)?

        init(_ masks: Int, _ quantities: Int) {
            means = Array(repeating: Array(repeating: TokenMean(), count: quantities), count: masks)
        }

        func reference(
            of batch: TokenBatch, _ mask: KeepMask, _ model: any Model
        ) throws(PruneError) -> any HiddenState {
            if let reference, reference.batch === batch { return reference }
            let state = try model.run(try model.start(batch), under: mask)
            reference = state
            return state
        }
    }
}
