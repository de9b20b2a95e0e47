// SPDX-License-Identifier: Apache-2.0
/// What one walk of a mask tree may hold and compute at a time.
struct WalkLimits {
    /// Prefixes that have states at most, of all batches that are walked: those of the sweep and those that wait.
    let room: Int
    /// Masks of a sweep at most.
    let width: Int
    /// Masks of a sweep where states have to be released.
    let fallback: Int
    /// Rows that go through a sublayer in one call at most. A single state may have more.
    let rowsPerCall: Int
}

/// Which batches of a data set are walked together, within a memory budget.
///
/// All counts are rows, which all take the same memory. States that a call makes stand beside those it starts from.
struct WalkPlan {
    /// Batches that follow one another and are walked together.
    let waves: [Range<Int>]
    private let budget: Budget

    /// Rows of the states of a sweep, where the weights stay in memory: enough for full calls, and few enough to stay
    /// near the processor. Masks beyond it would share no work that states held for a later sweep do not share as well.
    private static let sweepRows = 2 * RowLimit.call

    /// - Parameters:
    ///   - batchRows: the rows of every batch.
    ///   - options: settled for the model.
    ///   - reference: whether the states of a reference are held besides.
    init(
        _ tree: MaskTree, batchRows: [Int], _ options: WalkOptions, _ shape: ModelShape, reference: Bool
    ) throws(PruneError) {
        let own = Budget(
            options, shape, largest: batchRows.max() ?? 0, masks: tree.masks.count, references: reference ? 1 : 0)
        budget = own
        if own.rereadsWeights {
            waves = try Self.leastReading(tree, batchRows: batchRows, own, shape)
        } else {
            waves = consecutiveGroups(ofRows: batchRows, atMost: min(own.rowsPerCall, own.fitting))
        }
    }

    /// What a walk over batches of some rows may hold.
    func limits(_ batchRows: ArraySlice<Int>) -> WalkLimits { budget.limits(batchRows) }

    /// Rows that a sublayer could be applied to in the time that its weights are read from a file, roughly: 1.5 GB/s,
    /// and a TFLOP/s with two operations per row and weight of two bytes.
    private static let rowsPerPass = 700

    /// The waves that take the least time where weights are read anew in every pass. Many batches at a time want memory
    /// for each state many times, so that the masks take several sweeps; in turn, the sweeps share what comes before
    /// their masks part. Of equal ones those of fewer batches.
    private static func leastReading(
        _ tree: MaskTree, batchRows: [Int], _ budget: Budget, _ shape: ModelShape
    ) throws(PruneError) -> [Range<Int>] {
        var candidates = [budget.fitting]
        var rows = min(batchRows.reduce(0, +), budget.fittingOneMask)
        while rows > (batchRows.max() ?? 0) {
            candidates.append(rows)
            rows /= 2
        }
        let data = try TokenData(tokens: [0], lengths: [1], weights: nil)
        let meter = ProgressMeter(stage: "plan", total: 0, listener: nil)
        var taken: [Int: (passes: Int, sublayers: Int)] = [:]
        var best: (waves: [Range<Int>], rows: Int)?
        for most in candidates {
            let waves = consecutiveGroups(ofRows: batchRows, atMost: most)
            var rows = 0
            for wave in waves {
                let limits = budget.limits(batchRows[wave])
                if taken[limits.room] == nil {
                    var walk = MaskWalk(
                        DryRun(shape), tree, data.batches(of: 1), limits, meter: meter
                    ) { (_) throws(PruneError) in }
                    try walk.run()
                    taken[limits.room] = (walk.passes, walk.sublayersComputed)
                }
                guard let (passes, sublayers) = taken[limits.room] else { continue }
                rows += passes * rowsPerPass + sublayers * batchRows[wave].reduce(0, +)
            }
            if let best, (best.rows, -best.waves.count) <= (rows, -waves.count) { continue }
            best = (waves, rows)
        }
        return best?.waves ?? []
    }

    /// The memory of a walk, in rows of hidden states.
    private struct Budget {
        let rows: Int
        let rowsPerCall: Int
        let rereadsWeights: Bool
        let masks: Int
        let references: Int

        init(_ options: WalkOptions, _ shape: ModelShape, largest: Int, masks: Int, references: Int) {
            let bytes = options.memoryBudget ?? Memory.free / 4
            rereadsWeights = options.rereadsWeights ?? false
            rows = bytes / max(shape.hiddenSize * MemoryLayout<Float>.stride, 1)
            rowsPerCall = max(largest, min(RowLimit.call, options.batchTokens, rows / 4))
            self.masks = masks
            self.references = references
        }

        /// Rows of a wave whose states all fit, at the end of all masks.
        var fitting: Int { max(0, rows - rowsPerCall) / max(masks + references, 1) }

        /// Rows of a wave of which one mask at a time fits.
        var fittingOneMask: Int { max(0, rows - rowsPerCall) / (1 + references) }

        func limits(_ batchRows: ArraySlice<Int>) -> WalkLimits {
            let wave = max(batchRows.reduce(0, +), 1)
            // A call has whole states, and no more than there are masks.
            let states = min(masks, rowsPerCall / wave)
            let call = batchRows.count == 1 || states == masks ? states * wave : rowsPerCall
            let room = max(1, (rows - min(rows, call)) / wave - references)
            return WalkLimits(
                room: room, width: rereadsWeights ? .max : max(1, WalkPlan.sweepRows / wave),
                fallback: rereadsWeights ? max(1, room / 2) : 1, rowsPerCall: rowsPerCall)
        }
    }
}
