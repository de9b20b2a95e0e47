// SPDX-License-Identifier: Apache-2.0
/// One-shot, tail and random: units go in an order that is fixed beforehand, so that each mask lies in the one before it.
///
/// Without a bound on damage only the last mask is asked for. With one, the search ends before the first mask that exceeds
/// the bound, even if a later one would not: damage need not grow with every removal, and who removes by an order wants to
/// know how far it holds.
struct NestedStrategy: SearchStrategy {
    private let budget: SearchBudget
    /// From the start on.
    private let removals: [Removal]
    private let order: [Int]
    /// Removals that are known to be within the bound on damage, or that need not be known.
    private var accepted: Int
    private var asked = 0
    private(set) var path: [SearchStep] = []

    /// Masks that are asked for together where damage decides: enough to share what they agree on, few enough not to ask
    /// much beyond the bound.
    private static let batch = 8

    init(_ space: SearchSpace, order: [Int]) {
        budget = space.budget
        var removals = [space.nothing]
        var removed: [Int] = []
        // What may not go now may not go later, so one way through the order is enough.
        for unit in order {
            guard let last = removals.last, !(space.hasTarget && space.isMet(last)) else { break }
            guard space.mayGo(unit, after: last) else { continue }
            removals.append(space.removing(unit, from: last))
            removed.append(unit)
        }
        self.removals = removals
        self.order = removed
        accepted = space.budget.boundsDamage ? 0 : removals.count - 1
        for index in 0...accepted { addStep(index, told: 0) }
    }

    var chosen: Removal { removals[accepted] }

    private mutating func addStep(_ index: Int, told: Int) {
        path.append(SearchStep(removal: removals[index], unit: index == 0 ? nil : order[index - 1], told: told))
    }

    mutating func next(_ known: KnownDamages, recorded: SearchWave?) -> SearchWave? {
        guard budget.boundsDamage else {
            defer { asked = 1 }
            return asked == 0 ? SearchWave(removals: [chosen]) : nil
        }
        if asked > 0 {
            guard let start = known[removals[0]] else { return nil }
            let most = budget.mostDamage(start: start)
            guard start <= most else { return nil }
            while accepted + 1 < asked {
                guard let damage = known[removals[accepted + 1]], damage <= most else { return nil }
                accepted += 1
                addStep(accepted, told: known.count)
            }
        }
        guard asked < removals.count else { return nil }
        let wave = removals[asked...].prefix(Self.batch)
        asked += wave.count
        return SearchWave(removals: Array(wave))
    }
}
