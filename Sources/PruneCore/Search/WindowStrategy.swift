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
        guard (1...space.unitCount).contains(where: { !runs(of: $0).isEmpty }) else {
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
        let may = Set(space.removable)
        guard length <= space.unitCount else { return [] }
        return (0...space.unitCount - length).compactMap { first in
            let units = first..<first + length
            guard units.allSatisfy(may.contains) else { return nil }
            let removal = space.removal(of: units)
            return !space.hasTarget || space.isMet(removal) ? removal : nil
        }
    }

    private var longestRun: Removal {
        var longest: Range<Int> = 0..<0
        var first = 0
        for unit in 0..<space.unitCount {
            if !space.removable.contains(unit) { first = unit + 1 }
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
