// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

@Suite struct SearchStrategyTests {
    /// Sublayers 1, 3 and 6 do least damage.
    static let additive = HandDamage(alone: [0.5, 0.1, 0.6, 0.2, 0.7, 0.8, 0.3, 0.9])

    @Test func oneShotRemovesTheLowestScoresAndAsksForTheEndAlone() throws {
        var search = try handSearch(.oneShot) {
            $0.budget.remove = 3
            $0.scores = [5, 1, 6, 1, 7, 8, 1, 9]
        }
        #expect(search.mask.removed == [1, 3, 6] && search.state.isMet && search.state.damage == nil)
        let asked = try search.play { mask, _ in Self.additive(mask) }
        #expect(asked.map(\.mask.removed) == [[1, 3, 6]])
        let state = search.state
        #expect(state.isDone && state.startDamage == nil && state.told == 1 && state.removed == 3)
        #expect(abs((state.damage ?? 0) - 1.6) < 1e-12)
        #expect(search.path.map(\.unit) == [nil, 1, 3, 6])
        #expect(search.path.map(\.removed) == [0, 1, 2, 3])
        #expect(search.path.map { $0.damage == nil } == [true, true, true, false])
    }

    @Test func tailRemovesFromTheLastUnitOn() throws {
        for (granularity, removed) in [
            (Granularity.sublayer, [6, 7]), (.block, [4, 5, 6, 7]), (.attention, [4, 6]), (.feedForward, [5, 7]),
        ] {
            var search = try handSearch(.tail, granularity) { $0.budget.remove = 2 }
            try search.play { mask, _ in Self.additive(mask) }
            #expect(search.mask.removed == removed)
        }
    }

    @Test func randomDependsOnTheSeedAlone() throws {
        let masks = try (0..<40).map { seed in
            let search = try handSearch(.random) {
                $0.budget.remove = 3
                $0.seed = UInt64(seed)
            }
            #expect(search.mask.removed.count == 3)
            return search.mask
        }
        #expect(Set(masks).count > 20)
        #expect(Set(masks.flatMap(\.removed)).count == 8)
        let again = try handSearch(.random) {
            $0.budget.remove = 3
            $0.seed = 7
        }
        #expect(again.mask == masks[7])
    }

    @Test func greedyAsksForTheStartAndForEveryUnit() throws {
        var search = try handSearch(.greedy) {
            $0.budget.remove = 3
            $0.exchanges = 0
        }
        let asked = try search.play { mask, _ in Self.additive(mask) }
        #expect(asked.count == 1 + 8 + 7 + 6)
        #expect(asked[0].mask.removed.isEmpty && asked[1].mask.removed == [0])
        #expect(search.path.map(\.unit) == [nil, 1, 3, 6])
        #expect(search.path.map(\.told) == [0, 9, 16, 22])
        let wanted = [1, 1.1, 1.3, 1.6]
        for (step, damage) in zip(search.path, wanted) { #expect(abs((step.damage ?? 0) - damage) < 1e-12) }
        // Parameters: 100 + 36, less 2, 4 and 7.
        #expect(search.path.map(\.cost.parameters) == [136, 134, 130, 123])
        #expect(search.path.map(\.cost.keyValueBytes) == [32, 32, 32, 24])
    }

    @Test func greedyBreaksTiesByTheLowerIndex() throws {
        var search = try handSearch(.greedy) { $0.budget.remove = 3 }
        try search.play { mask, _ in Double(mask.removed.count) }
        #expect(search.mask.removed == [0, 1, 2])
    }

    @Test func greedyTriesTheCandidatesWithTheLowestScores() throws {
        var search = try handSearch(.greedy) {
            $0.budget.remove = 2
            $0.candidates = 2
            $0.exchanges = 0
            $0.scores = [0, 9, 1, 8, 2, 7, 3, 6]
        }
        let asked = try search.play { mask, _ in Self.additive(mask) }
        #expect(asked.map(\.mask.removed) == [[], [0], [2], [0, 2], [0, 4]])
        #expect(search.mask.removed == [0, 2])
    }

    @Test func exchangesFindWhatGreedyMisses() throws {
        // Alone 0 and 1 are harmless; together with anything else 0 is not. Greedy takes 0 first and is caught.
        var damage = HandDamage(alone: [0.1, 0.2, 0.3, 0.4, 2, 2, 2, 2])
        for other in 1..<8 { damage.together[[0, other]] = 1 }
        var plain = try handSearch(.greedy) {
            $0.budget.remove = 3
            $0.exchanges = 0
        }
        try plain.play { mask, _ in damage(mask) }
        #expect(plain.mask.removed == [0, 1, 2])
        var search = try handSearch(.greedy) { $0.budget.remove = 3 }
        try search.play { mask, _ in damage(mask) }
        #expect(search.mask.removed == [1, 2, 3])
        #expect(search.path.map(\.unit) == [nil, 0, 1, 2, nil])
        #expect(abs((search.state.damage ?? 0) - 1.9) < 1e-12)
    }

    @Test(arguments: [StrategyKind.greedy, .evolutionary], 1...6)
    func interactingGamesReachTheirOptimum(_ strategy: StrategyKind, _ remove: Int) throws {
        for seed in 0..<3 {
            let damage = HandDamage.random(8, seed: UInt64(seed))
            var search = try handSearch(strategy) { $0.budget.remove = remove }
            let asked = try search.play { mask, _ in damage(mask) }
            let best = try damage.least(of: 8) { $0.removed.count == remove }
            #expect(search.state.isDone && search.state.removed == remove)
            #expect(abs((search.state.damage ?? 0) - best) < 1e-12, "seed \(seed)")
            #expect(Set(asked.map(\.mask)).count == asked.count, "a mask was asked for twice")
        }
    }

    @Test func evolutionTellsOffspringOnEverMoreOfTheData() throws {
        let damage = HandDamage.random(12, seed: 4)
        var search = try handSearch(.evolutionary, blocks: 6) {
            $0.budget.remove = 5
            $0.offspring = 16
            $0.generations = 12
        }
        let asked = try search.play({ damage($0, $1) }, takesShares: true)
        let counts = [1.0 / 16, 1.0 / 4, 1].map { share in asked.count { $0.share == share } }
        #expect(counts[0] > 2 * counts[1] && counts[1] > counts[2] && counts[2] > 5)
        for share in Set(asked.map(\.share)) {
            let own = asked.filter { $0.share == share }.map(\.mask)
            #expect(Set(own).count == own.count, "a mask was asked for twice on \(share)")
        }
        #expect(search.path.count == 2 + 12)
        let parents = search.path.dropFirst().compactMap(\.damage)
        #expect(parents.count == 13 && zip(parents, parents.dropFirst()).allSatisfy { $0 >= $1 })
        let best = try damage.least(of: 12) { $0.removed.count == 5 }
        #expect(abs((search.state.damage ?? 0) - best) < 1e-12)
    }

    @Test func evolutionEndsWhenItHasNoPatienceLeft() throws {
        var search = try handSearch(.evolutionary, blocks: 6) {
            $0.budget.remove = 5
            $0.offspring = 4
            $0.patience = 2
        }
        try search.play { mask, _ in Double(mask.removed.count) }
        #expect(search.path.count == 2 + 2)
    }

    @Test func windowTakesTheRunThatDoesLeastDamage() throws {
        var search = try handSearch(.window) { $0.budget.remove = 3 }
        let asked = try search.play { mask, _ in Self.additive(mask) }
        // Runs of 3: 1.2, 0.9, 1.5, 1.7, 1.8, 2.0.
        #expect(asked.count == 1 + 6 && search.mask.removed == [1, 2, 3])
        #expect(search.path.map(\.unit) == [nil, nil] && search.state.startDamage == 1)
    }

    @Test func windowTakesTheRunWithTheLowestScore() throws {
        // Rows of windows of 1, 2, 3 and 4 blocks; those that would leave the model are not read.
        let nan = Double.nan
        var search = try handSearch(.window, .block) {
            $0.budget.remove = 2
            $0.scores = [0.1, 0.2, 0.3, 0.4, 0.6, 0.5, 0.5, nan, 0.8, 0.7, nan, nan, 0.9, nan, nan, nan]
        }
        let asked = try search.play { mask, _ in Self.additive(mask) }
        #expect(asked.count == 2 && search.mask.removed == [2, 3, 4, 5])
    }

    @Test func windowGrowsAsFarAsDamageAllows() throws {
        var search = try handSearch(.window) { $0.budget.maxDamage = 1.75 }
        try search.play { mask, _ in Self.additive(mask) }
        // Runs of 1 from 0.1, of 2 from 0.6, of 3 from 0.9.
        #expect(search.mask.removed == [0, 1] && search.path.count == 3 && search.state.isMet)
    }
}
