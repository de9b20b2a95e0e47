// SPDX-License-Identifier: Apache-2.0
/// Where a search stands.
public struct SearchState: Sendable {
    public let strategy: StrategyKind
    public let isDone: Bool
    /// Whether the mask meets the budget.
    public let isMet: Bool
    public let blockCount: Int
    public let asked: Int
    public let told: Int
    /// Units that the mask removes beyond the start.
    public let removed: Int
    public let steps: Int
    /// On all data; nil while they were not told.
    public let startDamage: Double?
    public let damage: Double?
    public let sublayersComputed: Int
    public let sublayersNaive: Int
}

/// A step on the way of a search, as a host reads it.
public struct SearchPathStep: Sendable {
    public let mask: KeepMask
    /// The unit that this step removed; nil if several changed.
    public let unit: Int?
    /// Units removed after it, beyond the start.
    public let removed: Int
    /// On all data; nil if it was not told.
    public let damage: Double?
    public let cost: ModelCost
    /// Damages told until then.
    public let told: Int
}

/// A search under way, as a state machine: `ask` hands out masks, `tell` takes their damages, in any order.
///
/// The strategy moves in waves: it wants some masks, and wants more when all of them are told. So neither the order of telling
/// nor how many masks are asked for at a time changes what it finds.
public struct Search: Sendable {
    public private(set) var options: SearchOptions
    private(set) var space: SearchSpace
    /// Made when the scores that it needs are there.
    private var strategy: (any SearchStrategy)?
    /// Whether damages on a share of the data are asked for; nil until somebody first asks.
    private(set) var takesShares: Bool?

    /// Masks that were wanted together.
    struct Wave: Sendable {
        let share: Double
        let isProposed: Bool
        let removals: [Removal]
        /// Their masks in the ledger.
        let records: Range<Int>
    }

    private(set) var waves: [Wave] = []
    /// Masks and their damages, of all waves. Only those of the last wave can be open.
    private var ledger = AskedCoalitions<KeepMask>()
    private var known = KnownDamages()
    private(set) var isDone = false
    public var sublayersComputed = 0
    public var sublayersNaive = 0

    /// Errors: `.argument` for an option out of range, or a budget that cannot be met; `.nonFinite` for a score;
    /// `.unsupported`.
    public init(_ options: SearchOptions) throws(PruneError) {
        try options.check()
        self.options = options
        let units = options.granularity.unitCount(blocks: options.costs.blockCount)
        try Memory.require(3 * units * (units / 8 + 320), for: "a search over \(units) units", "end other work first")
        space = try SearchSpace(options)
        if options.scores != nil || !options.needsScores {
            strategy = try options.makeStrategy(space, takesShares: false)
        }
    }

    public var blockCount: Int { options.costs.blockCount }

    /// Whether it goes by scores and has none, so that it cannot begin, or can only begin by damages.
    public var lacksScores: Bool { options.usesScores && options.scores == nil && takesShares == nil }

    /// Gives scores to a search that lacks them. Errors: as those of options.
    public mutating func setScores(_ scores: [Double]) throws(PruneError) {
        guard lacksScores else { throw PruneError(.internal, "scores were given to a search that does not lack them") }
        try options.check(scores)
        options.scores = scores
        strategy = try options.makeStrategy(space, takesShares: false)
    }

    /// Up to `most` masks whose damage is wanted next, all on one share of the data; none if the search is done or waits.
    ///
    /// - Parameter takesShares: whether the share may be less than all. The first call decides it for the search.
    /// Errors: `.argument` if scores are lacking, or a share is due that the caller does not take.
    public mutating func ask(_ most: Int, takesShares: Bool) throws(PruneError) -> (masks: [KeepMask], share: Double) {
        if self.takesShares == nil { try requireMemory(toTell: 0) }
        try begin(takesShares: takesShares)
        try Memory.require(
            min(most, ledger.waitingCount).times(clamping: 8 + options.costs.sublayers.count),
            for: "the masks of the search", "ask for fewer at a time")
        guard !isDone, let wave = waves.last else { return ([], 1) }
        guard takesShares || wave.share == 1 || ledger.waitingCount == 0 else {
            throw PruneError(
                .argument,
                "out_share is NULL, but this search was begun with it, and masks for a share of the data are due")
        }
        return (ledger.ask(most), wave.share)
    }

    /// Settles how damages are told, and wants the first masks.
    private mutating func begin(takesShares: Bool) throws(PruneError) {
        guard self.takesShares == nil else { return }
        guard strategy != nil else {
            throw PruneError(
                .argument,
                "this search goes by scores and has none: give options.scores, or let prune_model_search() score the model"
            )
        }
        self.takesShares = takesShares
        strategy = try options.makeStrategy(space, takesShares: takesShares)
        plan(recorded: nil)
    }

    /// Takes damages of masks that were asked for: all of them, or none on error.
    ///
    /// Errors: `.argument` for a mask that was not asked for, or was told before; `.nonFinite`.
    public mutating func tell(_ masks: [KeepMask], _ damages: [Double]) throws(PruneError) {
        try requireMemory(toTell: masks.count)
        try ledger.tell(masks, damages, noun: "mask", quantity: "damage")
        if !masks.isEmpty { proceed(recorded: nil) }
    }

    /// Proves that `count` damages can be told, and the next masks wanted: afterwards it would be too late to say that they
    /// cannot. Errors: `.memory`.
    private func requireMemory(toTell count: Int) throws(PruneError) {
        let sublayers = options.costs.sublayers.count
        let removal = 8 * ((space.unitCount + 63) / 64) + 256
        // A wave has no more than the units, or an evolutionary one's offspring; proposals are chosen among as many again.
        let wave = space.unitCount + 1088
        let considered = wave + SearchSpace.mostExchanges + (1 << 13)
        let matrices = 16 * DamageModel.most * DamageModel.most * MemoryLayout<Double>.stride
        try Memory.require(
            ledger.bytes(wanting: wave).plus(clamping: count.times(clamping: 64)).plus(
                clamping: known.count.times(clamping: 512)
            ).plus(clamping: wave * (2 * sublayers + 3 * removal) + considered * removal + matrices),
            for: "the next masks of the search", "end other work first")
    }

    /// Bytes that `path` takes at most.
    public var pathBytes: Int {
        (strategy?.path.count ?? 1).times(clamping: 2 * options.costs.sublayers.count + 256)
    }

    /// Masks that were asked for and not told will be asked for again.
    public mutating func askAgain() { ledger.askAgain() }

    /// The damages of a wave's removals; nil where they were not told.
    func damages(of wave: Wave) -> [Double?] { ledger.records[wave.records].map(\.value) }

    /// Lets the strategy move if every mask of the last wave was told.
    private mutating func proceed(recorded: SearchWave?) {
        guard !isDone, let wave = waves.last, ledger.isToldWhole else { return }
        for (removal, damage) in zip(wave.removals, damages(of: wave)) {
            if let damage { known.add(removal, wave.share, damage) }
        }
        plan(recorded: recorded)
    }

    /// The next wave that wants something new, if there is one.
    private mutating func plan(recorded: SearchWave?) {
        while let wanted = strategy?.next(known, recorded: recorded) {
            var seen: Set<Removal> = []
            let new = wanted.removals.filter { known[$0, wanted.share] == nil && seen.insert($0).inserted }
            if new.isEmpty { continue }
            let first = ledger.records.count
            for removal in new { ledger.want(space.mask(removal)) }
            waves.append(
                Wave(
                    share: wanted.share, isProposed: wanted.isProposed, removals: new,
                    records: first..<ledger.records.count))
            return
        }
        isDone = true
    }

    private var chosen: Removal { strategy?.chosen ?? space.nothing }

    /// The mask that the search would choose now.
    public var mask: KeepMask { space.mask(chosen) }

    public var state: SearchState {
        let chosen = chosen
        let start = known[space.nothing]
        let damage = known[chosen]
        var isMet = strategy != nil && (!space.hasTarget || space.isMet(chosen))
        if options.budget.boundsDamage {
            isMet = isMet && damage.map { $0 <= options.budget.mostDamage(start: start ?? .nan) } ?? false
        }
        return SearchState(
            strategy: options.strategy, isDone: isDone, isMet: isMet, blockCount: blockCount, asked: ledger.askedCount,
            told: ledger.toldCount,
            removed: chosen.count, steps: strategy?.path.count ?? 1, startDamage: start, damage: damage,
            sublayersComputed: sublayersComputed, sublayersNaive: sublayersNaive)
    }

    /// From the start on: each removal, or each generation's parent.
    public var path: [SearchPathStep] {
        (strategy?.path ?? [SearchStep(removal: space.nothing, unit: nil, told: 0)]).map { step in
            let mask = space.mask(step.removal)
            return SearchPathStep(
                mask: mask, unit: step.unit, removed: step.removal.count, damage: known[step.removal],
                cost: options.costs.cost(under: mask), told: step.told)
        }
    }
}

extension Search {
    /// What a saved search says of a wave.
    struct SavedWave {
        let share: Double
        let isProposed: Bool
        let removals: [Removal]
        /// One for each removal; nil = not told.
        let damages: [Double?]
    }

    /// A search from its saved parts, gone through again. Masks that were asked for and not told are asked for again.
    ///
    /// Errors: as `init(_:)`; `.format` if the waves are not those of this search.
    init(
        _ options: SearchOptions, takesShares: Bool?, waves saved: [SavedWave], isDone: Bool, sublayersComputed: Int,
        sublayersNaive: Int
    ) throws(PruneError) {
        try self.init(options)
        self.sublayersComputed = sublayersComputed
        self.sublayersNaive = sublayersNaive
        guard let takesShares else {
            guard saved.isEmpty, !isDone else { throw Self.strange }
            return
        }
        guard strategy != nil else { throw Self.strange }
        self.takesShares = takesShares
        strategy = try options.makeStrategy(space, takesShares: takesShares)
        let nothingMore = SearchWave(removals: [], isProposed: true)
        for index in 0...saved.count {
            let recorded =
                index < saved.count
                ? SearchWave(
                    share: saved[index].share, removals: saved[index].removals,
                    isProposed: saved[index].isProposed)
                : isDone ? nothingMore : nil
            if let recorded, recorded.isProposed, !recorded.removals.allSatisfy({ isProposable($0, recorded.share) }) {
                throw Self.strange
            }
            if index == 0 { plan(recorded: recorded) } else { proceed(recorded: recorded) }
            guard index < saved.count else { break }
            let own = saved[index]
            guard !self.isDone, waves.count == index + 1, waves[index].share == own.share,
                waves[index].removals == own.removals
            else { throw Self.strange }
            for (place, damage) in zip(waves[index].records, own.damages) {
                if let damage { ledger.restore(place, told: damage) }
            }
            guard index + 1 == saved.count || ledger.isToldWhole else { throw Self.strange }
        }
        guard self.isDone == isDone else { throw Self.strange }
    }

    private static let strange = PruneError(.format, "the masks are not those of a search with these options")

    /// Whether a model may have proposed it.
    private func isProposable(_ removal: Removal, _ share: Double) -> Bool {
        known[removal, share] == nil && removal.members.allSatisfy(space.isRemovable)
            && (!space.hasTarget || space.isMet(removal))
    }
}
