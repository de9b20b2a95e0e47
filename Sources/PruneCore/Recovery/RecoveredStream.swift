// SPDX-License-Identifier: Apache-2.0
/// The closed form along the stream of the model as it is pruned and already recovered: one adapter after the other, each
/// from the states that reach it with those before it in place.
///
/// What an adapter is to add leads from such a state h to that of the full model after what it emulates:
///
///     u = full model's state after the last sublayer of the span - h
///
/// So it makes up, as far as it can, for what the adapters before it left wrong. With the sublayer's own update of h as the
/// aim instead, less of the lost loss comes back (docs/recovery.md).
struct RecoveredStream {
    private let model: any Model
    private let batches: [TokenBatch]
    /// Batches from this one on are held out.
    private let heldOutFrom: Int
    private let slots: [AdapterSlot]
    private let options: AdapterOptions
    private let meter: ProgressMeter
    private let scratch = BufferPool()
    private var adapters: AdapterSet
    /// Sublayers before the first that is emulated: both models' states are the same there.
    private let sharedDepth: Int
    /// Whether the states of all batches stay in memory; if not, each adapter's are made again from the start.
    private let keepsStates: Bool
    /// If they are kept: the recovered model's before sublayer `depth`, and the full model's before `fullDepth`.
    private var states: [any HiddenState] = []
    private var fullStates: [any HiddenState] = []
    private var depth = 0
    private var fullDepth = 0

    init(
        _ model: any Model, _ batches: [TokenBatch], heldOut: [TokenBatch], under mask: KeepMask,
        _ slots: [AdapterSlot],
        _ options: AdapterOptions, _ progress: ProgressMeter.Listener?
    ) throws(PruneError) {
        self.model = model
        self.batches = batches + heldOut
        heldOutFrom = batches.count
        self.slots = slots
        self.options = options
        let width = model.shape.hiddenSize
        adapters = AdapterSet(mask: mask, adapters: [:], weightSample: try model.weightSample(), hiddenSize: width)
        let rows = self.batches.reduce(0) { $0 + $1.rowCount }
        let moments = options.kind == .bias ? 0 : 2 * UpdateMoments.bytes(width: width)
        keepsStates = 2 * rows * width * MemoryLayout<Float>.stride <= options.statisticsBudget - moments
        let isAdapter = Set(slots.map(\.sublayer))
        sharedDepth = slots.first?.span.lowerBound ?? 0
        var steps = 0
        var begin = sharedDepth
        var fullBegin = sharedDepth
        for (index, slot) in slots.enumerated() {
            if index == 0 || !keepsStates { steps += sharedDepth }
            let way = (begin..<slot.span.lowerBound).filter { mask.keeps($0) || isAdapter.contains($0) }
            steps += way.count + slot.span.upperBound - fullBegin
            if keepsStates { (begin, fullBegin) = (slot.span.lowerBound, slot.span.upperBound) }
        }
        meter = ProgressMeter(stage: "closed form", total: steps * self.batches.count, listener: progress)
    }

    /// Errors: `.nonFinite` naming the layer; `.cancelled`; `.memory`; those of the solution.
    mutating func solve() throws(PruneError) -> AdapterSet {
        for slot in slots {
            let (moments, heldOut) = try gather(slot)
            adapters.add(try AdapterSolution(moments, heldOut: heldOut, slot, options), slot)
        }
        return adapters
    }

    /// The moments of an adapter, of the data and of the held-out part, all adapters before it in place.
    private mutating func gather(
        _ slot: AdapterSlot
    ) throws(PruneError) -> (moments: UpdateMoments, heldOut: UpdateMoments) {
        let recovered = try RecoveredModel(model, adapters)
        try UpdateMoments.requireMemory(2, width: model.shape.hiddenSize, matrices: options.kind != .bias)
        var moments = UpdateMoments(width: model.shape.hiddenSize, matrices: options.kind != .bias)
        var heldOut = moments
        let isKept = !states.isEmpty
        for wave in model.waves(of: batches, statesPerRow: 4) {
            var before: [any HiddenState] = []
            if isKept {
                before = Array(states[wave])
            } else {
                for batch in batches[wave] { before.append(try model.start(batch)) }
                for sublayer in 0..<sharedDepth { try advance(&before, through: sublayer, of: model) }
            }
            var after = isKept ? Array(fullStates[wave]) : before
            for sublayer in max(depth, sharedDepth)..<slot.span.lowerBound
            where adapters.mask.keeps(sublayer) || adapters.adapters[sublayer] != nil {
                try advance(&before, through: sublayer, of: recovered)
            }
            for sublayer in max(fullDepth, sharedDepth)..<slot.span.upperBound {
                try advance(&after, through: sublayer, of: model)
            }
            if keepsStates {
                if isKept {
                    states.replaceSubrange(wave, with: before)
                    fullStates.replaceSubrange(wave, with: after)
                } else {
                    states += before
                    fullStates += after
                }
            }
            for (index, (before, after)) in zip(wave, zip(before, after)) {
                let isFinite =
                    index < heldOutFrom
                    ? try moments.add(model, before, after, norm: slot.norm, scratch)
                    : try heldOut.add(model, before, after, norm: slot.norm, scratch)
                guard isFinite else {
                    // What is emulated is at fault if the way to it is not.
                    let reachesIt = try model.read(before) { values throws(PruneError) in
                        values.indices.allSatisfy { values[$0].isFinite }
                    }
                    let faulty: any Model = reachesIt ? model : recovered
                    throw try faulty.nonFiniteError(in: before.batch, under: KeepMask(blocks: adapters.mask.blockCount))
                }
            }
        }
        if keepsStates { (depth, fullDepth) = (slot.span.lowerBound, slot.span.upperBound) }
        return (moments, heldOut)
    }

    private func advance(
        _ states: inout [any HiddenState], through sublayer: Int, of model: any Model
    ) throws(PruneError) {
        let rowsPerCall = states.map(\.batch.rowCount).max() ?? 0
        try model.apply(sublayer, to: &states, at: Array(states.indices), rowsPerCall: rowsPerCall) {
            count throws(PruneError) in try meter.advance(by: count)
        }
    }
}
