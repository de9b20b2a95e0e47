// SPDX-License-Identifier: Apache-2.0
extension SearchSpace {
    /// Units of either side that take part in exchanges of two, and damages of which one is chosen exactly, at most.
    private static let shortList = 12

    /// Exchanges of one for one that are considered, at most: on wide spaces fewer for each unit that is put back.
    static let mostExchanges = 1 << 14

    /// Standard deviations by which a proposal may be expected to be worse than another and yet be tried before it.
    private static let optimism = 0.5

    /// Removals that differ from `center` by an exchange, are not known yet, and are the most promising by what is known.
    ///
    /// Where units are counted, or only damage bounds the search, as many are put back as go; else as few go as bounds allow.
    /// - Parameter known: damages on one share of the data.
    func proposals(
        around center: Removal, _ known: [(removal: Removal, damage: Double)], count: Int
    ) -> [Removal] {
        let near = known.enumerated()
            .map { (distance: $0.element.removal.units.difference(center.units), place: $0.offset) }
            .sorted { ($0.distance, -$0.place) < ($1.distance, -$1.place) }
            .prefix(DamageModel.most)
        guard let model = DamageModel(near.map { known[$0.place] }) else { return [] }
        let told = Set(known.map(\.removal))
        let back = center.members
        let away = removable.filter { !center.units.contains($0) }

        var found: [Removal: Double] = [:]
        func consider(_ removal: Removal) {
            guard !told.contains(removal), found[removal] == nil, !hasTarget || isMet(removal) else { return }
            found[removal] = model.expected(removal.units)
        }
        // What each unit is worth by itself, to shorten the lists for two at a time.
        let backFirst = back.map { ($0, model.expected(puttingBack($0, into: center).units)) }.sorted { $0.1 < $1.1 }
        let awayFirst = away.map { ($0, model.expected(removing($0, from: center).units)) }.sorted { $0.1 < $1.1 }
        let changesCount = quotas.isEmpty && hasTarget
        let awayCount = min(256, max(1, Self.mostExchanges / max(1, back.count)))
        for (unit, _) in backFirst {
            let rest = puttingBack(unit, into: center)
            if changesCount { consider(rest) }
            for (other, _) in awayFirst.prefix(awayCount) { consider(removing(other, from: rest)) }
        }
        let pairsBack = pairs(backFirst.prefix(Self.shortList).map(\.0))
        let pairsAway = pairs(awayFirst.prefix(Self.shortList).map(\.0))
        for (a, b) in pairsBack {
            let rest = puttingBack(b, into: puttingBack(a, into: center))
            if changesCount {
                for (unit, _) in awayFirst.prefix(Self.shortList) { consider(removing(unit, from: rest)) }
            }
            for (c, d) in pairsAway { consider(removing(d, from: removing(c, from: rest))) }
        }
        let byExpectation = found.sorted { ($0.value, $0.key) < ($1.value, $1.key) }.prefix(8 * count)
        return
            byExpectation
            .map { ($0.key, model.hopeful($0.key.units, optimism: Self.optimism)) }
            .sorted { ($0.1, $0.0) < ($1.1, $1.0) }
            .prefix(count)
            .map(\.0)
    }

    private func pairs(_ units: [Int]) -> [(Int, Int)] {
        units.indices.flatMap { first in units[(first + 1)...].map { (units[first], $0) } }
    }
}

extension Removal: Comparable {
    /// An order by the units alone, to break ties: the one with the first unit that the other lacks comes first.
    static func < (a: Removal, b: Removal) -> Bool {
        for (x, y) in zip(a.units.words, b.units.words) where x != y {
            // The lowest bit in which they differ belongs to the one that comes first.
            return x >> UInt64((x ^ y).trailingZeroBitCount) & 1 == 1
        }
        return false
    }
}
