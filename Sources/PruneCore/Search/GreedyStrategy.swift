// SPDX-License-Identifier: Apache-2.0
/// The unit that does least damage now, then the next (SLEB, arXiv 2402.09025; BlockPruner, 2406.10594; FinerCut,
/// 2405.18218); and exchanges afterwards, because units that are harmless one by one need not be so together.
///
/// An exchange puts back one or two removed units for as many others. A model of the damages told so far says which are
/// worth asking for, a round at a time, until some rounds in a row bring nothing better. Where a bound on damage stops the
/// removals, exchanges that lower the damage make room for more.
///
/// As published, without exchanges, it misses the best six blocks of our test model on one text of three, and the best five
/// on two; with them it finds the best one to six on each (docs/search.md).
struct GreedyStrategy: SearchStrategy {
    private let space: SearchSpace
    /// Units by ascending score, of which the first `candidates` are tried at each step; nil = all are.
    private let order: [Int]?
    private let candidates: Int?
    private(set) var chosen: Removal
    private(set) var path: [SearchStep]
    private var phase = Phase.start

    private enum Phase {
        case start
        /// The units were tried.
        case removing([Int])
        /// - Parameters:
        ///   - proposals: were tried.
        ///   - fruitless: rounds in a row that brought nothing better.
        ///   - isStuck: more would have to go, but the bound on damage stopped it.
        ///   - hasImproved: since the removals stopped.
        case exchanging(proposals: [Removal], fruitless: Int, isStuck: Bool, hasImproved: Bool)
        case done
    }

    /// Rounds in a row without a better mask after which exchanges end.
    private let mostFruitless: Int

    /// - Parameter exchanges: rounds in a row without a better mask after which they end; 0 = none.
    init(_ space: SearchSpace, order: [Int]?, candidates: Int?, exchanges: Int) {
        mostFruitless = exchanges
        self.space = space
        self.order = order
        self.candidates = candidates
        chosen = space.nothing
        path = [SearchStep(removal: space.nothing, unit: nil, told: 0)]
    }

    mutating func next(_ known: KnownDamages, recorded: SearchWave?) -> SearchWave? {
        switch phase {
        case .start: return tryRemovals(with: [space.nothing])
        case .removing(let units): return remove(units, known, recorded)
        case .exchanging(let proposals, let fruitless, let isStuck, let hasImproved):
            guard let best = known.least(proposals), let now = known[chosen], best.damage < now else {
                return exchange(
                    known, recorded, fruitless: fruitless + 1, isStuck: isStuck, hasImproved: hasImproved)
            }
            chosen = best.removal
            path.append(SearchStep(removal: chosen, unit: nil, told: known.count))
            return exchange(known, recorded, fruitless: 0, isStuck: isStuck, hasImproved: true)
        case .done: return nil
        }
    }

    /// Asks for the masks without one more unit each.
    private mutating func tryRemovals(with others: [Removal] = []) -> SearchWave? {
        let may = space.next(chosen)
        let tried: [Int]
        if let order {
            let isOpen = Set(may)
            tried = Array(order.filter(isOpen.contains).prefix(candidates ?? .max))
        } else {
            tried = may
        }
        phase = .removing(tried.sorted())
        let removals = others + tried.sorted().map { space.removing($0, from: chosen) }
        if removals.isEmpty { phase = .done }
        return removals.isEmpty ? nil : SearchWave(removals: removals)
    }

    private mutating func remove(_ units: [Int], _ known: KnownDamages, _ recorded: SearchWave?) -> SearchWave? {
        phase = .done
        guard let start = known[space.nothing] else { return nil }
        let most = space.budget.mostDamage(start: start)
        let after = units.map { space.removing($0, from: chosen) }
        guard start <= most, let best = known.least(after) else { return nil }
        guard best.damage <= most else { return exchange(known, recorded, isStuck: true) }
        chosen = best.removal
        let unit = after.firstIndex(of: chosen).map { units[$0] }
        path.append(SearchStep(removal: chosen, unit: unit, told: known.count))
        guard space.hasTarget, space.isMet(chosen) else { return tryRemovals() }
        takeBestOnTheWay(known, least: best.damage)
        return exchange(known, recorded)
    }

    /// Chooses a mask that was tried on the way, meets the budget and does less damage, if there is one: where costs are
    /// bounded, one large unit may do what several small ones do.
    private mutating func takeBestOnTheWay(_ known: KnownDamages, least: Double) {
        let meeting = known.damages(on: 1).map(\.removal).filter(space.isMet)
        guard let best = known.least(meeting), best.damage < least else { return }
        chosen = best.removal
        path.append(SearchStep(removal: chosen, unit: nil, told: known.count))
    }

    /// The next round of exchanges, if there is to be one.
    private mutating func exchange(
        _ known: KnownDamages, _ recorded: SearchWave?, fruitless: Int = 0, isStuck: Bool = false,
        hasImproved: Bool = false
    ) -> SearchWave? {
        if fruitless < mostFruitless {
            let proposals =
                recorded.map(\.proposals)
                ?? space.proposals(around: chosen, known.damages(on: 1), count: roundSize)
            if !proposals.isEmpty {
                phase = .exchanging(
                    proposals: proposals, fruitless: fruitless, isStuck: isStuck, hasImproved: hasImproved)
                return SearchWave(removals: proposals, isProposed: true)
            }
        }
        phase = .done
        return isStuck && hasImproved ? tryRemovals() : nil
    }

    /// Exchanges tried in a round: as many as there are units, or candidates, so that a round costs what a removal does.
    private var roundSize: Int {
        let all = space.removable.count
        return min(candidates ?? all, all)
    }
}
