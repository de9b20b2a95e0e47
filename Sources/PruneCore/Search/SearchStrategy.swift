// SPDX-License-Identifier: Apache-2.0
/// Damages that were told, by what was removed and on which share of the data.
struct KnownDamages: Sendable {
    private struct Key: Hashable {
        let units: Coalition
        let share: Double
    }

    private var damages: [Key: Double] = [:]
    /// In the order of wanting.
    private var all: [(removal: Removal, share: Double, damage: Double)] = []

    var count: Int { all.count }

    /// Those on one share, in the order of wanting.
    func damages(on share: Double) -> [(removal: Removal, damage: Double)] {
        all.filter { $0.share == share }.map { ($0.removal, $0.damage) }
    }

    subscript(_ removal: Removal, share: Double = 1) -> Double? {
        damages[Key(units: removal.units, share: share)]
    }

    mutating func add(_ removal: Removal, _ share: Double, _ damage: Double) {
        damages[Key(units: removal.units, share: share)] = damage
        all.append((removal, share, damage))
    }

    /// The removal that does least damage, the first of equals; nil if none of them is known.
    func least(_ removals: [Removal], share: Double = 1) -> (removal: Removal, damage: Double)? {
        var best: (removal: Removal, damage: Double)?
        for removal in removals {
            guard let damage = self[removal, share] else { continue }
            if let best, best.damage <= damage { continue }
            best = (removal, damage)
        }
        return best
    }
}

/// What a strategy wants to know next: the damage of some removals, all on one share of the data.
struct SearchWave: Sendable {
    var share = 1.0
    var removals: [Removal]
    /// Whether a fitted model of the damages chose them.
    var isProposed = false

    /// Those that a model chose: none, if something else did.
    var proposals: [Removal] { isProposed ? removals : [] }
}

/// A step on the way of a search.
struct SearchStep: Sendable {
    let removal: Removal
    /// The unit that this step removed; nil if several changed.
    let unit: Int?
    /// Damages told until then.
    let told: Int
}

/// A way to search, as a state machine that moves when all that it wanted is known.
///
/// What it wants depends on its options and on damages alone, so that a search is its options and what it was told. What a
/// fitted model of the damages proposed is kept besides, since it depends on rounding, which differs between machines.
protocol SearchStrategy: Sendable {
    /// What it would choose now.
    var chosen: Removal { get }

    /// From the start on.
    var path: [SearchStep] { get }

    /// What it wants to know next, known removals among it or not; nil = it is done. Called when all that it wanted before
    /// is known.
    ///
    /// - Parameter recorded: what it wanted here in a search that is gone through again, nothing if it was done; nil = nobody
    ///   was here before.
    mutating func next(_ known: KnownDamages, recorded: SearchWave?) -> SearchWave?
}

extension SearchOptions {
    /// - Parameter takesShares: whether damages on a share of the data are available.
    /// Errors: `.argument` if no run of units meets the budget.
    func makeStrategy(_ space: SearchSpace, takesShares: Bool) throws(PruneError) -> any SearchStrategy {
        switch strategy {
        case .oneShot: NestedStrategy(space, order: lowestFirst(space))
        case .tail: NestedStrategy(space, order: space.removable.reversed())
        case .random:
            NestedStrategy(space, order: shuffled(space))
        case .greedy:
            GreedyStrategy(
                space, order: candidates == nil ? nil : lowestFirst(space), candidates: candidates,
                exchanges: exchanges ?? Self.usualExchanges)
        case .window: try WindowStrategy(space, scores: scores)
        case .evolutionary: EvolutionaryStrategy(space, self, takesShares: takesShares)
        }
    }

    /// Units that may go, by ascending score; ties go to the lower index.
    private func lowestFirst(_ space: SearchSpace) -> [Int] {
        guard let scores else { return space.removable }
        return space.removable.sorted { (scores[$0], $0) < (scores[$1], $1) }
    }

    private func shuffled(_ space: SearchSpace) -> [Int] {
        var random = RandomSource(seed: seed, stream: 0)
        return random.permutation(space.removable.count).map { space.removable[$0] }
    }
}
