// SPDX-License-Identifier: Apache-2.0
@testable import PruneCore

/// A model of `blocks` blocks of which a search knows what it costs: sublayer u has u + 1 parameters of two bytes, and each
/// attention 8 bytes of keys and values; 100 parameters stay.
func handCosts(blocks: Int, wholeBlocks: Bool = false) -> SearchCosts {
    SearchCosts(
        fixed: ModelCost(parameters: 100, parameterBytes: 200),
        sublayers: (0..<2 * blocks).map {
            ModelCost(parameters: $0 + 1, parameterBytes: 2 * ($0 + 1), keyValueBytes: $0 % 2 == 0 ? 8 : 0)
        },
        hasWholeBlocks: wholeBlocks)
}

/// A damage that can be known by hand, of what a mask removes.
struct HandDamage: Sendable {
    /// Of each sublayer by itself.
    var alone: [Double]
    /// Of two sublayers together, beside that of each.
    var together: [Set<Int>: Double] = [:]
    var start = 1.0

    func callAsFunction(_ mask: KeepMask, _ share: Double = 1) -> Double {
        let removed = Set(mask.removed)
        // Sums of Doubles depend on their order, and that of a dictionary is its own.
        let pairs = together.filter { $0.key.isSubset(of: removed) }.map(\.value).sorted().reduce(0, +)
        // A part of the data says nearly the same as all of it.
        let error = share < 1 ? 0.001 * Double(mask.removed.reduce(0) { ($0 * 31 + $1) % 17 }) : 0
        return start + mask.removed.reduce(0) { $0 + alone[$1] } + pairs + error
    }

    /// Random damages alone and of a third of the pairs, of `count` sublayers.
    static func random(_ count: Int, seed: UInt64) -> HandDamage {
        var random = RandomSource(seed: seed, stream: 7)
        var damage = HandDamage(alone: (0..<count).map { _ in random.unit() })
        for a in 0..<count {
            for b in a + 1..<count where random.index(below: 3) == 0 { damage.together[[a, b]] = random.unit() - 0.5 }
        }
        return damage
    }

    /// The least damage of all masks that satisfy `allows`, by trying each.
    func least(of count: Int, where allows: (KeepMask) -> Bool) throws -> Double {
        var best = Double.infinity
        for bits in 0..<1 << count {
            let mask = try KeepMask(bytes: (0..<count).map { UInt8(bits >> $0 & 1) })
            if allows(mask) { best = min(best, self(mask)) }
        }
        return best
    }
}

/// A search for `remove` sublayers of a hand model, with whatever else `change` sets.
func handSearch(
    _ strategy: StrategyKind, blocks: Int = 4, _ granularity: Granularity = .sublayer,
    _ change: (inout SearchOptions) -> Void = { _ in }
) throws -> Search {
    var options = SearchOptions(handCosts(blocks: blocks), strategy, granularity, SearchBudget())
    change(&options)
    return try Search(options)
}

extension Search {
    /// Goes on until it is done, or `most` masks were told. Returns what was asked for.
    @discardableResult
    mutating func play(
        _ damage: (KeepMask, Double) -> Double, batch: Int = 64, takesShares: Bool = false, upTo most: Int = .max
    ) throws -> [(mask: KeepMask, share: Double)] {
        var all: [(mask: KeepMask, share: Double)] = []
        while all.count < most {
            let (masks, share) = try ask(min(batch, most - all.count), takesShares: takesShares)
            if masks.isEmpty { break }
            all += masks.map { ($0, share) }
            // Backwards: the order of telling is nobody's business.
            try tell(masks.reversed(), masks.reversed().map { damage($0, share) })
        }
        return all
    }
}
