// SPDX-License-Identifier: Apache-2.0
/// The static metrics of every sublayer and block of a model as running sums, and of every window if asked.
public struct ModelStatistics: Sendable {
    public let blockCount: Int
    public let selection: TokenSelection
    private var sublayers: [UnitStatistics]
    private var blocks: [UnitStatistics]
    private var windows: WindowStatistics?

    public var hasWindows: Bool { windows != nil }

    public init(blocks: Int, selection: TokenSelection = .all, windows: Bool = false) {
        blockCount = blocks
        self.selection = selection
        sublayers = Array(repeating: UnitStatistics(), count: 2 * blocks)
        self.blocks = Array(repeating: UnitStatistics(), count: blocks)
        self.windows = windows ? WindowStatistics(blocks: blocks) : nil
    }

    /// Errors: `.argument` if the two are of different models or options, or have more tokens than can be counted.
    public mutating func merge(_ other: ModelStatistics) throws(PruneError) {
        guard other.blockCount == blockCount else {
            throw PruneError(
                .argument, "statistics of \(other.blockCount) blocks cannot be merged into those of \(blockCount)")
        }
        guard other.selection == selection, other.hasWindows == hasWindows else {
            throw PruneError(.argument, "statistics gathered with other options (tokens, windows) cannot be merged")
        }
        try requireWindows(2)
        guard zip(sublayers + blocks, other.sublayers + other.blocks).allSatisfy({ $0.canMerge($1) }) else {
            throw Self.tooManyTokens
        }
        add(other)
    }

    /// Proves that tables of windows can be made, if these statistics have windows. Errors: `.memory`.
    private func requireWindows(_ tables: Int) throws(PruneError) {
        if hasWindows { try Self.requireWindows(tables, blocks: blockCount) }
    }

    /// Proves that tables of the windows of some blocks can be made. Errors: `.memory`.
    public static func requireWindows(_ tables: Int, blocks: Int) throws(PruneError) {
        try Memory.require(
            tables.times(clamping: blocks * blocks * MemoryLayout<Double>.stride),
            for: "windows of \(blocks) blocks", "use fewer tokens per batch, or no windows")
    }

    private static let tooManyTokens = PruneError(
        .argument, "the statistics would be of more tokens than can be counted; merge each part once")

    private mutating func add(_ other: ModelStatistics) {
        for index in sublayers.indices { sublayers[index].merge(other.sublayers[index]) }
        for index in blocks.indices { blocks[index].merge(other.blocks[index]) }
        if let more = other.windows { windows?.merge(more) }
    }

    /// Adds some tokens of one unit, as they were before it and after it, in memory of the host.
    ///
    /// Other units, a block's sublayers among them, have none of them. On failure nothing is added.
    /// Errors: `.argument` for a unit out of range, rows of different sizes, and statistics with windows; `.nonFinite`
    /// naming unit and row; `.memory`.
    public mutating func update(
        _ granularity: Granularity, unit: Int, before: StateRows, after: StateRows
    ) throws(PruneError) {
        guard !hasWindows else {
            throw PruneError(
                .argument, "these statistics have windows, which need whole passes; create others with windows = 0")
        }
        let units = granularity.unitCount(blocks: blockCount)
        guard (0..<units).contains(unit) else {
            throw PruneError(.argument, "unit is \(unit); of this granularity there are \(units), from 0 on")
        }
        let rows = try UnitStatistics(before: before, after: after, name: granularity.name(ofUnit: unit))
        if granularity == .block {
            guard blocks[unit].canMerge(rows) else { throw Self.tooManyTokens }
            blocks[unit].merge(rows)
        } else {
            let sublayer = granularity.sublayers(ofUnit: unit).lowerBound
            guard sublayers[sublayer].canMerge(rows) else { throw Self.tooManyTokens }
            sublayers[sublayer].merge(rows)
        }
    }

    /// Sums of a unit, which is in range.
    func statistics(ofUnit unit: Int, _ granularity: Granularity) -> UnitStatistics {
        granularity == .block ? blocks[unit] : sublayers[granularity.sublayers(ofUnit: unit).lowerBound]
    }

    /// One score per unit.
    ///
    /// Errors: `.data` naming the first unit that was given no tokens; `.argument` for a metric that is not of states.
    public func scores(
        _ metric: Metric, _ granularity: Granularity, relativeTo: RelativeTo = .input
    ) throws(PruneError) -> [Double] {
        var scores: [Double] = []
        for unit in 0..<granularity.unitCount(blocks: blockCount) {
            let own = statistics(ofUnit: unit, granularity)
            guard own.tokens > 0 else {
                let name = granularity.name(ofUnit: unit)
                throw PruneError(.data, "no tokens of \(name) were gathered; collect data, or add rows of it")
            }
            guard let value = own.value(metric, relativeTo) else {
                throw PruneError(
                    .argument, "\(metric.facts.name) does not come from hidden states; score the model for it")
            }
            scores.append(value)
        }
        return scores
    }

    /// Mean angular distance of every window: row n - 1, column i, as `WindowStatistics.distances`.
    ///
    /// Errors: `.data` if nothing was gathered; `.argument` if windows were not asked for.
    public func windowDistances() throws(PruneError) -> [Double] {
        guard let windows else {
            throw PruneError(.argument, "these statistics have no windows; create them with windows = 1")
        }
        guard windows.tokens > 0 else { throw PruneError(.data, "no tokens were gathered; collect some first") }
        try requireWindows(2)
        return windows.distances
    }

    /// Steps that gathering over some batches takes, for a progress meter.
    public static func steps(_ batches: [TokenBatch], under mask: KeepMask) -> Int {
        batches.count * mask.kept.count
    }

    /// Adds the tokens of some batches by one forward pass under a mask.
    ///
    /// Errors: `.nonFinite` naming the layer; whatever the model throws. Discard the statistics then.
    public mutating func collect(
        _ model: any Model, _ batches: [TokenBatch], under mask: KeepMask, _ meter: ProgressMeter
    ) throws(PruneError) {
        // A batch has the states before and after a block and between its sublayers; windows need all boundaries.
        for wave in model.waves(of: batches, statesPerRow: hasWindows ? blockCount + 3 : 3) {
            try collect(model, wave: Array(batches[wave]), under: mask, meter)
        }
    }

    /// Adds batches that go through every sublayer together. Sums are added up batch by batch, as if they came alone.
    private mutating func collect(
        _ model: any Model, wave: [TokenBatch], under mask: KeepMask, _ meter: ProgressMeter
    ) throws(PruneError) {
        let rowCount = wave.reduce(0) { $0 + $1.rowCount }
        // A number for each row, and sums for each piece of them.
        try Memory.require(48 * rowCount, for: "statistics of \(rowCount) tokens", "use fewer tokens per batch")
        let rows = wave.map { selection == .all ? Array(0..<$0.rowCount) : $0.lastRows }
        var states: [any HiddenState] = []
        for batch in wave { states.append(try model.start(batch)) }
        let rowsPerCall = wave.map(\.rowCount).max() ?? 0
        var boundaries = hasWindows ? [states] : []
        for block in 0..<blockCount {
            var through = states.map { [$0] }
            for sublayer in 2 * block...2 * block + 1 where mask.keeps(sublayer) {
                try model.apply(
                    sublayer, to: &states, at: Array(wave.indices), rowsPerCall: rowsPerCall
                ) { count throws(PruneError) in try meter.advance(by: count) }
                for index in wave.indices { through[index].append(states[index]) }
            }
            for index in wave.indices { try add(model, block: block, through[index], rows[index], mask) }
            if hasWindows { boundaries.append(states) }
        }
        if hasWindows {
            for index in wave.indices { try addWindows(model, boundaries.map { $0[index] }, rows[index]) }
        }
    }

    private static func pieces(_ rows: [Int]) -> [ArraySlice<Int>] {
        let tokens = UnitStatistics.pieceTokens
        return stride(from: 0, to: rows.count, by: tokens).map { rows[$0..<min($0 + tokens, rows.count)] }
    }

    /// Adds `rows` of a block, given the hidden states before it and after each of its sublayers that the mask keeps.
    private mutating func add(
        _ model: any Model, block: Int, _ states: [any HiddenState], _ rows: [Int], _ mask: KeepMask
    ) throws(PruneError) {
        let width = model.shape.hiddenSize
        let pieces = Self.pieces(rows)
        let keeps = (attention: mask.keeps(2 * block), feedForward: mask.keeps(2 * block + 1))
        if let compared = try BlockStatistics(comparing: states, in: model, at: rows, keeps: keeps) {
            return merge(compared, block: block, isWhole: model.shape.hasWholeBlocks)
        }
        // Safe: a state lends rowCount x width floats, and every row is below rowCount.
        let sums = try withPointers(to: states[...], in: model) { states -> [BlockStatistics]? in
            mapOnAllThreads(pieces) { piece in
                var sum = BlockStatistics(keeps: keeps)
                for row in piece where !sum.add(states, at: row * width, width: width) { return nil }
                return sum
            }
        }
        guard let sums else { throw try model.nonFiniteError(in: states[0].batch, under: mask) }
        for sum in sums { merge(sum, block: block, isWhole: model.shape.hasWholeBlocks) }
    }

    /// - Parameter isWhole: the model ran the block as one: nothing is known of its sublayers.
    private mutating func merge(_ sum: BlockStatistics, block: Int, isWhole: Bool) {
        blocks[block].merge(sum.block)
        if isWhole { return }
        sublayers[2 * block].merge(sum.attention)
        sublayers[2 * block + 1].merge(sum.feedForward)
    }

    private mutating func addWindows(
        _ model: any Model, _ boundaries: [any HiddenState], _ rows: [Int]
    ) throws(PruneError) {
        let width = model.shape.hiddenSize
        let blocks = blockCount
        let pieces = Self.pieces(rows)
        try requireWindows(pieces.count + 1)
        let sums = try withPointers(to: boundaries[...], in: model) { pointers in
            mapOnAllThreads(pieces) { piece in
                var sum = WindowStatistics(blocks: blocks)
                for row in piece { sum.add(pointers.map { $0 + row * width }, width: width) }
                return sum
            }
        }
        for sum in sums ?? [] { windows?.merge(sum) }
    }
}

/// Lends the values of several states at once.
private func withPointers<Result>(
    to states: ArraySlice<any HiddenState>, in model: any Model, _ found: [UnsafePointer<Float>] = [],
    _ body: ([UnsafePointer<Float>]) -> Result
) throws(PruneError) -> Result {
    guard let state = states.first else { return body(found) }
    return try model.read(state) { values throws(PruneError) in
        var failure: PruneError?
        let result = values.withUnsafeBufferPointer { values -> Result? in
            guard let base = values.baseAddress else { return nil }
            do throws(PruneError) {
                return try withPointers(to: states.dropFirst(), in: model, found + [base], body)
            } catch {
                failure = error
                return nil
            }
        }
        guard let result else { throw failure ?? PruneError(.internal, "a hidden state lent no values") }
        return result
    }
}
