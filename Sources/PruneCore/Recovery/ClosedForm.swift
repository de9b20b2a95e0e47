// SPDX-License-Identifier: Apache-2.0
/// Adapters in closed form, along the stream that the options name.
///
/// Errors: as `recover`.
func closedForm(
    _ model: any Model, _ data: TokenData, heldOut: TokenData, under mask: KeepMask, _ options: AdapterOptions,
    progress: ProgressMeter.Listener?
) throws(PruneError) -> AdapterSet {
    let begin = ProgressMeter.now()
    try options.checkClosedForm(width: model.shape.hiddenSize)
    let slots = try adapterSlots(model, under: mask, options)
    let batches = data.batches(of: options.batchTokens)
    let heldOutBatches = heldOut.batches(of: options.batchTokens)
    var set: AdapterSet
    switch options.stream {
    case .fullModel:
        set = try closedForm(model, batches, heldOut: heldOutBatches, under: mask, slots, options, progress)
    case .recovered:
        var stream = try RecoveredStream(model, batches, heldOut: heldOutBatches, under: mask, slots, options, progress)
        set = try stream.solve()
    }
    set.report.statisticsTokens = data.tokens.count
    set.report.seconds = ProgressMeter.now() - begin
    return set
}

/// From the full model's stream: as many adapters per pass over the data as have room for their moments.
private func closedForm(
    _ model: any Model, _ batches: [TokenBatch], heldOut: [TokenBatch], under mask: KeepMask, _ slots: [AdapterSlot],
    _ options: AdapterOptions, _ progress: ProgressMeter.Listener?
) throws(PruneError) -> AdapterSet {
    // The moments of an adapter stand twice: of the data, and of the held-out part.
    let bytes = options.kind == .bias ? 0 : 2 * UpdateMoments.bytes(width: model.shape.hiddenSize)
    let perPass = max(1, options.statisticsBudget / max(bytes, 1))
    var passes: [RecoveryMoments] = []
    var first = 0
    while first < slots.count {
        let end = perPass < slots.count - first ? first + perPass : slots.count
        passes.append(try RecoveryMoments(model, under: mask, slots[first..<end], options.kind))
        first = end
    }
    let depths = passes.reduce(0) { $0 + $1.depth }
    let meter = ProgressMeter(
        stage: "closed form", total: depths * (batches.count + heldOut.count), listener: progress)
    var set = AdapterSet(
        mask: mask, adapters: [:], weightSample: try model.weightSample(), hiddenSize: model.shape.hiddenSize)
    for empty in passes {
        var moments = empty
        var heldOutMoments = empty
        try moments.collect(model, batches, meter)
        try heldOutMoments.collect(model, heldOut, meter)
        set.add(try moments.solve(heldOut: heldOutMoments, options))
    }
    return set
}

extension AdapterSet {
    /// Adds the adapters of another set for the same mask, with what is reported of each.
    fileprivate mutating func add(_ other: AdapterSet) {
        adapters.merge(other.adapters) { $1 }
        report.ridges.merge(other.report.ridges) { $1 }
        report.explained.merge(other.report.explained) { $1 }
    }
}

extension AdapterOptions {
    /// Bytes that statistics may take.
    var statisticsBudget: Int { memoryBudget ?? Memory.free / 4 }

    /// Checks what the closed form uses. Errors: `.argument`, naming the option.
    func checkClosedForm(width: Int) throws(PruneError) {
        if kind == .lowRank {
            for (name, value) in [("rank", rank ?? 1), ("the greatest rank to choose from", mostRank)] {
                guard value >= 1 else { throw PruneError(.argument, "\(name) is \(value); it must be at least 1") }
            }
            if let rank, rank > width {
                throw PruneError(
                    .argument, "rank \(rank) is more than the hidden size \(width); use kind `linear` instead")
            }
        }
        if let ridge, !(ridge.isFinite && ridge >= 0) {
            throw PruneError(.argument, "ridge \(ridge) must be finite and not negative")
        }
        guard batchTokens >= 1 else { throw PruneError(.argument, "batches of \(batchTokens) tokens; give at least 1") }
        if let memoryBudget, memoryBudget < 1 {
            throw PruneError(.argument, "a memory budget of \(memoryBudget) bytes; give at least 1, or none")
        }
    }
}
