// SPDX-License-Identifier: Apache-2.0
/// How a search goes about it. The raw values are those of `PRUNE_STRATEGY_*`.
public enum StrategyKind: Int32, Sendable {
    case oneShot = 1
    case greedy = 2
    case window = 3
    case tail = 4
    case evolutionary = 5
    case random = 6

    public static let usual = StrategyKind.greedy
}

/// What a search may remove, how, and where it ends.
public struct SearchOptions: Sendable {
    public let costs: SearchCosts
    public var strategy: StrategyKind
    public var granularity: Granularity
    public var seed: UInt64 = 0
    public var budget: SearchBudget
    public var start: KeepMask
    /// For each sublayer whether it is never removed.
    public var protected: [Bool]
    /// Influence of each unit, or of each window; nil = none yet, or none at all.
    public var scores: [Double]?
    /// Of `.greedy`: units with the lowest scores that are tried at each step; nil = all.
    public var candidates: Int?
    /// Of `.greedy`: rounds of exchanges in a row without a better mask after which they end; 0 = no exchanges, nil =
    /// `usualExchanges`.
    public var exchanges: Int?
    /// Of `.evolutionary`: offspring of a generation; nil = `usualOffspring`.
    public var offspring: Int?
    /// Of `.evolutionary`; nil = as many as the size of the search asks for.
    public var generations: Int?
    /// Of `.evolutionary`: generations without a better parent after which it ends; nil = no such end.
    public var patience: Int?

    static let usualExchanges = 3
    /// EvoPress' number.
    static let usualOffspring = 32
    /// Offspring and generations at most: far beyond any search, so that no count overflows.
    static let mostOffspring = 1 << 20

    public init(_ costs: SearchCosts, _ strategy: StrategyKind, _ granularity: Granularity, _ budget: SearchBudget) {
        self.costs = costs
        self.strategy = strategy
        self.granularity = granularity
        self.budget = budget
        start = KeepMask(blocks: costs.blockCount)
        protected = Array(repeating: false, count: 2 * costs.blockCount)
    }

    /// Whether the strategy goes by scores.
    var usesScores: Bool { strategy == .oneShot || strategy == .window || (strategy == .greedy && candidates != nil) }

    /// Whether it cannot begin without them. A window search can: then it goes by the damage of the runs.
    var needsScores: Bool { usesScores && strategy != .window }

    /// Errors: `.argument` naming the option that is out of range, or of another strategy; `.nonFinite` for a score;
    /// `.unsupported` for units that the model cannot lose one by one.
    func check() throws(PruneError) {
        let blocks = costs.blockCount
        guard start.keeps.count == 2 * blocks, protected.count == 2 * blocks else {
            throw PruneError(
                .argument, "options.start and options.protect need \(2 * blocks) entries, one per sublayer")
        }
        guard !costs.hasWholeBlocks || granularity == .block else {
            throw PruneError(
                .unsupported,
                "this model's host runs whole blocks, so that only blocks can be removed; set the granularity block")
        }
        try budget.check(granularity, costs)
        for (name, value) in [("offspring", offspring), ("generations", generations), ("patience", patience)] {
            guard let value else { continue }
            guard (1...Self.mostOffspring).contains(value) else {
                throw PruneError(.argument, "options.\(name) is \(value); it must be 1 to \(Self.mostOffspring)")
            }
            guard strategy == .evolutionary else {
                throw PruneError(.argument, "options.\(name) is \(value), but only evolutionary searches have it")
            }
        }
        if let candidates, candidates < 1 {
            throw PruneError(.argument, "options.candidates is \(candidates); it must be at least 1")
        }
        if let exchanges, !(0...Self.mostOffspring).contains(exchanges) {
            throw PruneError(
                .argument,
                "options.exchanges is \(exchanges); it must be at most \(Self.mostOffspring), and not negative")
        }
        for (name, value) in [("candidates", candidates), ("exchanges", exchanges)] where strategy != .greedy {
            guard let value else { continue }
            throw PruneError(.argument, "options.\(name) is \(value), but only greedy searches have it")
        }
        if strategy == .evolutionary, !budget.countsUnits, !budget.boundsCost {
            throw PruneError(
                .argument,
                "an evolutionary search exchanges units under a budget, and max_loss_increase or max_damage is none: give remove, or a bound on costs"
            )
        }
        if let scores { try check(scores) }
    }

    /// Errors: `.argument` for scores of another strategy, or as many as there are units of another granularity;
    /// `.nonFinite` naming the unit.
    func check(_ scores: [Double]) throws(PruneError) {
        guard usesScores else {
            throw PruneError(
                .argument,
                "options.scores were given, but \(strategy) searches use none (greedy ones only with candidates)")
        }
        let blocks = costs.blockCount
        guard strategy == .window else {
            let units = granularity.unitCount(blocks: blocks)
            guard scores.count == units else {
                throw PruneError(
                    .argument, "options.scores has \(scores.count) entries for \(units) units; give one per unit")
            }
            if let bad = scores.firstIndex(where: { !$0.isFinite }) {
                throw PruneError(
                    .nonFinite, "the score of \(granularity.name(ofUnit: bad)) is \(scores[bad]); scores must be finite"
                )
            }
            return
        }
        guard granularity == .block else {
            throw PruneError(
                .argument,
                "options.scores of windows are of blocks; for other units give none, and the damage of each run decides"
            )
        }
        guard scores.count == blocks * blocks else {
            throw PruneError(
                .argument,
                "options.scores has \(scores.count) entries; windows of \(blocks) blocks have \(blocks) rows of as many"
            )
        }
        // The rest of a row is of windows that would leave the model.
        for count in 1...blocks {
            for first in 0...blocks - count where !scores[(count - 1) * blocks + first].isFinite {
                throw PruneError(
                    .nonFinite,
                    "the score of blocks \(first) to \(first + count - 1) is \(scores[(count - 1) * blocks + first]); scores must be finite"
                )
            }
        }
    }
}
