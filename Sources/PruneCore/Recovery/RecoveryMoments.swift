// SPDX-License-Identifier: Apache-2.0
/// What the closed form learns from: for every adapter to be made, the moments of its input x and of the update u that it
/// is to emulate, as running sums in double over the tokens of the full model's stream. Every token counts the same.
public struct RecoveryMoments: Sendable {
    public let mask: KeepMask
    private let hiddenSize: Int
    private let weightSample: [Float]
    private let slots: [AdapterSlot]
    /// One for each slot.
    private var moments: [UpdateMoments]

    /// Empty moments for what a mask removes. `options`: kind, normsInput and blockSlot are used.
    /// Errors: `.argument` if the mask removes nothing or is of another model; `.unsupported` if the input is to be normed
    /// and the model does not give its norms; `.memory`.
    public init(_ model: any Model, under mask: KeepMask, _ options: AdapterOptions) throws(PruneError) {
        try self.init(model, under: mask, try adapterSlots(model, under: mask, options)[...], options.kind)
    }

    /// Those of some of the adapters.
    init(
        _ model: any Model, under mask: KeepMask, _ slots: ArraySlice<AdapterSlot>, _ kind: AdapterKind
    ) throws(PruneError) {
        self.mask = mask
        self.slots = Array(slots)
        hiddenSize = model.shape.hiddenSize
        weightSample = try model.weightSample()
        let bytes = kind == .bias ? 0 : slots.count * UpdateMoments.bytes(width: hiddenSize)
        guard bytes <= Memory.free else {
            throw PruneError(
                .memory,
                "the moments of \(slots.count) adapters take \(bytes >> 20) MiB, more than is free; make fewer at a time"
            )
        }
        try UpdateMoments.requireMemory(slots.count, width: hiddenSize, matrices: kind != .bias)
        moments = slots.map { _ in UpdateMoments(width: model.shape.hiddenSize, matrices: kind != .bias) }
    }

    /// Tokens gathered so far.
    public var tokens: Int { moments.first?.tokens ?? 0 }

    /// Sublayers of the full model that a pass computes: those up to the last removed one.
    var depth: Int { slots.reduce(0) { max($0, $1.span.upperBound) } }

    /// Adds all tokens by one forward pass of the full model. Discard the moments if it throws.
    ///
    /// Errors: `.argument` if they are of another model; `.nonFinite` naming the layer; `.cancelled`; `.memory`.
    public mutating func collect(
        _ model: any Model, _ data: TokenData, batchTokens: Int, progress: ProgressMeter.Listener? = nil
    ) throws(PruneError) {
        try model.shape.check(mask)
        guard model.shape.hiddenSize == hiddenSize, try model.weightSample() == weightSample else {
            throw PruneError(.argument, "the moments are of another model; create new ones for this one")
        }
        let batches = data.batches(of: max(1, batchTokens))
        let meter = ProgressMeter(stage: "moments", total: batches.count * depth, listener: progress)
        try collect(model, batches, meter)
    }

    /// Adds the tokens of some batches.
    mutating func collect(
        _ model: any Model, _ batches: [TokenBatch], _ meter: ProgressMeter
    ) throws(PruneError) {
        let scratch = BufferPool()
        // The states before and after a sublayer, and those before a block.
        for wave in model.waves(of: batches, statesPerRow: 3) {
            let batches = batches[wave]
            var states: [any HiddenState] = []
            for batch in batches { states.append(try model.start(batch)) }
            let rowsPerCall = batches.map(\.rowCount).max() ?? 0
            var before: [Int: [any HiddenState]] = [:]
            for sublayer in 0..<depth {
                for index in slots.indices where slots[index].span.lowerBound == sublayer { before[index] = states }
                try model.apply(
                    sublayer, to: &states, at: Array(states.indices), rowsPerCall: rowsPerCall
                ) { count throws(PruneError) in try meter.advance(by: count) }
                for index in slots.indices where slots[index].span.upperBound == sublayer + 1 {
                    for (before, after) in zip(before.removeValue(forKey: index) ?? [], states) {
                        let isFinite = try moments[index].add(model, before, after, norm: slots[index].norm, scratch)
                        guard isFinite else {
                            throw try model.nonFiniteError(in: before.batch, under: KeepMask(blocks: mask.blockCount))
                        }
                    }
                }
            }
        }
    }

    /// Errors: `.argument` if the two are of different models, masks or options.
    public mutating func merge(_ other: RecoveryMoments) throws(PruneError) {
        try check(isLike: other)
        // What another reader holds is copied before it is changed.
        try UpdateMoments.requireMemory(
            moments.count + 1, width: hiddenSize, matrices: moments.first?.hasMatrices ?? false)
        for index in moments.indices { moments[index].merge(other.moments[index]) }
    }

    private func check(isLike other: RecoveryMoments) throws(PruneError) {
        guard other.hiddenSize == hiddenSize, other.weightSample == weightSample else {
            throw PruneError(.argument, "moments of different models do not go together")
        }
        let matrices = moments.map(\.hasMatrices)
        guard other.mask == mask, other.slots == slots, other.moments.map(\.hasMatrices) == matrices else {
            throw PruneError(
                .argument, "moments of other masks or options (kind, input, block slot) do not go together")
        }
    }

    /// Adapters in closed form. `options`: kind, rank, mostRank and ridge are used.
    ///
    /// - Parameter heldOut: what ridge and rank are chosen by; nil = a ridge of 1e-3 where none is given.
    /// Errors: `.data` without tokens; `.argument` for a rank to be chosen and nothing to choose by, options out of range,
    /// or `heldOut` of another mask; `.nonFinite` if the result is beyond fp32; `.memory`.
    public func solve(heldOut: RecoveryMoments?, _ options: AdapterOptions) throws(PruneError) -> AdapterSet {
        let begin = ProgressMeter.now()
        try options.checkClosedForm(width: hiddenSize)
        if let heldOut { try check(isLike: heldOut) }
        guard tokens > 0 else { throw PruneError(.data, "no tokens were gathered; collect some first") }
        guard options.kind == .bias || moments.allSatisfy(\.hasMatrices) else {
            throw PruneError(
                .argument, "moments gathered for a bias do not do for \(options.kind.name); gather them for it")
        }
        guard options.kind != .lowRank || options.rank != nil || (heldOut?.tokens ?? 0) > 0 else {
            throw PruneError(.argument, "no held-out tokens to choose a rank by; give a rank, or held-out data")
        }
        try AdapterSolution.requireMemory(
            min(ThreadPool.threads, slots.count), width: hiddenSize, options.kind, ridges: 1)
        let solutions = mapOnAllThreads(Array(slots.indices)) { index -> Result<AdapterSolution, PruneError>? in
            do throws(PruneError) {
                return .success(
                    try AdapterSolution(moments[index], heldOut: heldOut?.moments[index], slots[index], options))
            } catch {
                return .failure(error)
            }
        }
        var set = AdapterSet(mask: mask, adapters: [:], weightSample: weightSample, hiddenSize: hiddenSize)
        for (slot, solution) in zip(slots, solutions ?? []) { set.add(try solution.get(), slot) }
        set.report.statisticsTokens = tokens
        set.report.seconds = ProgressMeter.now() - begin
        return set
    }
}

extension AdapterSet {
    /// Puts an adapter in its place.
    mutating func add(_ solution: AdapterSolution, _ slot: AdapterSlot) {
        adapters[slot.sublayer] = solution.adapter
        report.ridges[slot.sublayer] = solution.ridge
        report.explained[slot.sublayer] = solution.explained
    }
}

extension UpdateMoments {
    /// Adds the tokens of a batch, given its states before and after what is emulated.
    ///
    /// Returns false if a value is not finite. Errors: `.memory`; what reading states throws.
    mutating func add(
        _ model: any Model, _ before: any HiddenState, _ after: any HiddenState, norm: InputNorm?, _ scratch: BufferPool
    ) throws(PruneError) -> Bool {
        let rows = before.batch.rowCount
        return try model.read(before) { h throws(PruneError) in
            try model.read(after) { g throws(PruneError) in
                try h.withUnsafeBufferPointer { h throws(PruneError) in
                    try g.withUnsafeBufferPointer { g throws(PruneError) in
                        // Safe: a state lends rowCount x width floats.
                        guard let h = h.baseAddress, let g = g.baseAddress else { return true }
                        return try add(h, g, rows: rows, norm: norm, scratch)
                    }
                }
            }
        }
    }
}
