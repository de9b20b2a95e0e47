// SPDX-License-Identifier: Apache-2.0
/// A run of contiguous units goes: the one with the lowest score, or that does least damage (arXiv 2403.17887).
///
/// It is as short as the budget allows. If only damage bounds it, runs grow by a unit as long as the best one of a length is
/// within the bound.
struct WindowStrategy: SearchStrategy {
    private let space: SearchSpace
    /// Row n - 1, column i: the score of n units from i on; nil = damage decides.
    private let scores: [Double]?
    /// Units of the runs that were asked for; 0 = nothing was asked for yet.
    private var length = 0
    private var asked: [Removal] = []
    private(set) var chosen: Removal
    private(set) var path: [SearchStep]

    /// Errors: `.argument` if no run meets the budget.
    init(_ space: SearchSpace, scores: [Double]?) throws(PruneError) {
        self.space = space
        self.scores = scores
        chosen = space.nothing
        path = [SearchStep(removal: space.nothing, unit: nil, told: 0)]
        guard space.hasTarget, !space.isMet(space.nothing) else { return }
        guard (1...space.unitCount).contains(where: { hasRun(of: $0) }) else {
            let longest = longestRun
            let left = space.bounds.enumerated().map { index, bound in
                "\(bound.name) \(space.text(longest.left[index], bound))"
            }
            throw PruneError(
                .argument,
                "the budget cannot be met by one run of contiguous units: the longest that may go has \(longest.count)"
                    + (left.isEmpty ? "" : " and leaves " + left.joined(separator: ", ")))
        }
    }

    /// The runs of a length that may go and, where there is a target, reach it.
    private func runs(of length: Int) -> [Removal] {
        var runs: [Removal] = []
        forEachRun(of: length) { run in
            runs.append(run)
            return true
        }
        return runs
    }

    private func hasRun(of length: Int) -> Bool {
        var hasOne = false
        forEachRun(of: length) { _ in
            hasOne = true
            return false
        }
        return hasOne
    }

    /// Calls `visit` with those runs in their order, until it returns false. One removal moves along the units.
    private func forEachRun(of length: Int, _ visit: (Removal) -> Bool) {
        // Where units are counted, runs of other lengths reach no target.
        guard length <= space.unitCount, space.quotas.isEmpty || space.quotas.reduce(0, +) == length else { return }
        var run = space.nothing
        var first = 0
        for unit in 0..<space.unitCount {
            guard space.isRemovable(unit) else {
                run = space.nothing
                first = unit + 1
                continue
            }
            space.remove(unit, from: &run)
            if unit - first == length {
                space.putBack(first, into: &run)
                first += 1
            }
            guard unit - first + 1 == length, !space.hasTarget || space.isMet(run) else { continue }
            if !visit(run) { return }
        }
    }

    private var longestRun: Removal {
        var longest: Range<Int> = 0..<0
        var first = 0
        for unit in 0..<space.unitCount {
            if !space.isRemovable(unit) { first = unit + 1 }
            if unit + 1 - first > longest.count { longest = first..<unit + 1 }
        }
        return space.removal(of: longest)
    }

    mutating func next(_ known: KnownDamages, recorded: SearchWave?) -> SearchWave? {
        if length > 0 {
            guard let start = known[space.nothing], let best = known.least(asked),
                best.damage <= space.budget.mostDamage(start: start), start <= space.budget.mostDamage(start: start)
            else { return nil }
            chosen = best.removal
            path.append(
                SearchStep(
                    removal: chosen, unit: chosen.count == 1 ? chosen.members.first : nil, told: known.count))
            guard !space.hasTarget else { return nil }
        }
        let isFirst = length == 0
        let isMet = space.hasTarget && space.isMet(space.nothing)
        asked = []
        while asked.isEmpty, length < space.unitCount, !isMet {
            length += 1
            asked = candidates(of: length)
        }
        if isFirst {
            length = max(length, 1)
            return SearchWave(removals: [space.nothing] + asked)
        }
        return asked.isEmpty ? nil : SearchWave(removals: asked)
    }

    /// The runs of a length among which damage decides: all, or the one with the lowest score, the first of equals.
    private func candidates(of length: Int) -> [Removal] {
        let runs = runs(of: length)
        guard let scores else { return runs }
        func score(_ run: Removal) -> Double { scores[(length - 1) * space.unitCount + (run.members.first ?? 0)] }
        let lowest = runs.enumerated().min { (score($0.element), $0.offset) < (score($1.element), $1.offset) }
        return lowest.map { [$0.element] } ?? []
    }
}
