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

    /// A mask that was wanted.
    struct Record: Sendable {
        let removal: Removal
        var isAsked = false
        var damage: Double?
    }

    /// Masks that were wanted together.
    struct WaveRecord: Sendable {
        let share: Double
        let isProposed: Bool
        var records: [Record]
    }

    private(set) var waves: [WaveRecord] = []
    private var known = KnownDamages()
    private(set) var isDone = false
    private var asked = 0
    private var told = 0
    /// Of the last wave: records before this one are asked, and so many are told.
    private var firstUnasked = 0
    private var toldOfWave = 0
    public var sublayersComputed = 0
    public var sublayersNaive = 0

    /// Errors: `.argument` for an option out of range, or a budget that cannot be met; `.nonFinite` for a score;
    /// `.unsupported`.
    public init(_ options: SearchOptions) throws(PruneError) {
        try options.check()
        self.options = options
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
        try begin(takesShares: takesShares)
        guard !isDone, let wave = waves.indices.last else { return ([], 1) }
        let share = waves[wave].share
        guard takesShares || share == 1 || firstUnasked == waves[wave].records.count else {
            throw PruneError(
                .argument,
                "out_share is NULL, but this search was begun with it, and masks for a share of the data are due")
        }
        var masks: [KeepMask] = []
        while firstUnasked < waves[wave].records.count, masks.count < most {
            if !waves[wave].records[firstUnasked].isAsked {
                waves[wave].records[firstUnasked].isAsked = true
                asked += 1
                masks.append(space.mask(waves[wave].records[firstUnasked].removal))
            }
            firstUnasked += 1
        }
        return (masks, share)
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
        var waiting: [KeepMask: Int] = [:]
        if let wave = waves.last, !isDone {
            for (place, record) in wave.records.enumerated() where record.isAsked && record.damage == nil {
                waiting[space.mask(record.removal)] = place
            }
        }
        var taken: [(place: Int, damage: Double)] = []
        for (row, (mask, damage)) in zip(masks, damages).enumerated() {
            guard damage.isFinite else {
                throw PruneError(.nonFinite, "the damage of mask \(row) is \(damage); damages must be finite")
            }
            guard let place = waiting.removeValue(forKey: mask) else {
                throw PruneError(
                    .argument, "mask \(row) was not asked for, or was told before; tell each once, as it was asked for")
            }
            taken.append((place, damage))
        }
        guard let wave = waves.indices.last else { return }
        for (place, damage) in taken { waves[wave].records[place].damage = damage }
        told += taken.count
        toldOfWave += taken.count
        if !taken.isEmpty { proceed(recorded: nil) }
    }

    /// Masks that were asked for and not told will be asked for again.
    public mutating func askAgain() {
        guard let wave = waves.indices.last else { return }
        for place in waves[wave].records.indices
        where waves[wave].records[place].isAsked && waves[wave].records[place].damage == nil {
            waves[wave].records[place].isAsked = false
            asked -= 1
            firstUnasked = min(firstUnasked, place)
        }
    }

    /// Lets the strategy move if the last wave is told whole.
    private mutating func proceed(recorded: SearchWave?) {
        guard !isDone, let wave = waves.last, toldOfWave == wave.records.count else { return }
        for record in wave.records {
            if let damage = record.damage { known.add(record.removal, wave.share, damage) }
        }
        plan(recorded: recorded)
    }

    /// The next wave that wants something new, if there is one.
    private mutating func plan(recorded: SearchWave?) {
        while let wanted = strategy?.next(known, recorded: recorded) {
            var seen: Set<Removal> = []
            let new = wanted.removals.filter { known[$0, wanted.share] == nil && seen.insert($0).inserted }
            if new.isEmpty { continue }
            waves.append(
                WaveRecord(
                    share: wanted.share, isProposed: wanted.isProposed, records: new.map { Record(removal: $0) }))
            firstUnasked = 0
            toldOfWave = 0
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
            strategy: options.strategy, isDone: isDone, isMet: isMet, blockCount: blockCount, asked: asked, told: told,
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
    /// A search from its saved parts, gone through again. Masks that were asked for and not told are asked for again.
    ///
    /// Errors: as `init(_:)`; `.format` if the waves are not those of this search.
    init(
        _ options: SearchOptions, takesShares: Bool?, waves saved: [WaveRecord], isDone: Bool, sublayersComputed: Int,
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
                    share: saved[index].share, removals: saved[index].records.map(\.removal),
                    isProposed: saved[index].isProposed)
                : isDone ? nothingMore : nil
            if let recorded, recorded.isProposed, !recorded.removals.allSatisfy({ isProposable($0, recorded.share) }) {
                throw Self.strange
            }
            if index == 0 { plan(recorded: recorded) } else { proceed(recorded: recorded) }
            guard index < saved.count else { break }
            let own = saved[index].records
            guard !self.isDone, waves.count == index + 1, waves[index].share == saved[index].share,
                waves[index].records.map(\.removal) == own.map(\.removal)
            else { throw Self.strange }
            for (place, record) in own.enumerated() {
                guard let damage = record.damage else { continue }
                waves[index].records[place].isAsked = true
                waves[index].records[place].damage = damage
                asked += 1
                told += 1
                toldOfWave += 1
            }
            guard index + 1 == saved.count || toldOfWave == own.count else { throw Self.strange }
        }
        guard self.isDone == isDone else { throw Self.strange }
    }

    private static let strange = PruneError(.format, "the masks are not those of a search with these options")

    /// Whether a model may have proposed it.
    private func isProposable(_ removal: Removal, _ share: Double) -> Bool {
        known[removal, share] == nil && removal.members.allSatisfy(space.removable.contains)
            && (!space.hasTarget || space.isMet(removal))
    }
}
