// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

@Suite struct SearchBudgetTests {
    static let damage = HandDamage(alone: [0.5, 0.1, 0.6, 0.2, 0.7, 0.8, 0.3, 0.9])

    static func ended(
        _ strategy: StrategyKind, _ granularity: Granularity = .sublayer, _ change: (inout SearchOptions) -> Void
    ) throws -> Search {
        var search = try handSearch(strategy, granularity, change)
        try search.play { mask, _ in damage(mask) }
        #expect(search.state.isDone)
        return search
    }

    static func message(
        _ strategy: StrategyKind, _ granularity: Granularity = .sublayer, _ change: (inout SearchOptions) -> Void
    ) -> PruneError? {
        do {
            _ = try handSearch(strategy, granularity, change)
            return nil
        } catch { return error as? PruneError }
    }

    @Test(arguments: [StrategyKind.greedy, .evolutionary])
    func kindsAreCountedExactly(_ strategy: StrategyKind) throws {
        let search = try Self.ended(strategy) {
            $0.budget.removeAttention = 2
            $0.budget.removeFeedForward = 1
        }
        #expect(search.mask.removed == [0, 1, 6] && search.state.isMet)
        let only = try Self.ended(strategy) { $0.budget.removeFeedForward = 3 }
        #expect(only.mask.removed == [1, 3, 5])
    }

    @Test(arguments: [StrategyKind.greedy, .evolutionary])
    func boundsOnCostsAreMetWithTheLeastDamage(_ strategy: StrategyKind) throws {
        let costs = handCosts(blocks: 4)
        let cases: [(change: (inout SearchOptions) -> Void, allows: (ModelCost) -> Bool)] = [
            // 136 parameters in all: at most 0.9 of them is 122.
            ({ $0.budget.removeParameters = 0.1 }, { $0.parameters <= 122 }),
            ({ $0.budget.parameterBytes = 250 }, { $0.parameterBytes <= 250 }),
            ({ $0.budget.keyValueBytes = 16 }, { $0.keyValueBytes <= 16 }),
            (
                {
                    $0.budget.keyValueBytes = 24
                    $0.budget.parameterBytes = 256
                }, { $0.keyValueBytes <= 24 && $0.parameterBytes <= 256 }
            ),
        ]
        for (number, own) in cases.enumerated() {
            let search = try Self.ended(strategy, .sublayer, own.change)
            let best = try Self.damage.least(of: 8) { own.allows(costs.cost(under: $0)) }
            #expect(own.allows(costs.cost(under: search.mask)) && search.state.isMet)
            #expect(abs((search.state.damage ?? 0) - best) < 1e-12, "case \(number): \(search.mask.removed)")
        }
    }

    @Test func unitsThatHelpNoBoundAreKept() throws {
        // Only attention has keys and values, whatever its score.
        let search = try Self.ended(.oneShot) {
            $0.budget.keyValueBytes = 8
            $0.scores = [9, 1, 8, 1, 7, 1, 6, 1]
        }
        #expect(search.mask.removed == [2, 4, 6])
    }

    @Test func timesAreBounded() throws {
        let times = (0...8).map { TokenTime(prefill: Double($0), decode: $0 == 8 ? 10 : 1) }
        // Prefill 36 in all, 8 of them fixed: from the tail 7, 6 and 5 go to reach 18.
        let prefill = try Self.ended(.tail) {
            $0.budget.times = times
            $0.budget.prefillMilliseconds = 18
        }
        #expect(prefill.mask.removed == [5, 6, 7])
        let decode = try Self.ended(.tail) {
            $0.budget.times = times
            $0.budget.decodeMilliseconds = 16.5
        }
        #expect(decode.mask.removed == [6, 7])
        let both = try Self.ended(.tail) {
            $0.budget.times = times
            $0.budget.prefillMilliseconds = 18
            $0.budget.decodeMilliseconds = 14
        }
        #expect(both.mask.removed == [4, 5, 6, 7])
    }

    @Test func countedUnitsLeaveBoundsWithinReach() throws {
        // Two units of 16 bytes are left at most: both have to be attention, though feed-forwards do less damage.
        let search = try Self.ended(.greedy) {
            $0.budget.remove = 2
            $0.budget.keyValueBytes = 16
        }
        #expect(search.mask.removed == [0, 6] && search.state.isMet)
    }

    @Test func protectedAndStartedUnitsStayAsTheyAre() throws {
        let search = try Self.ended(.greedy) {
            $0.budget.remove = 2
            $0.start = KeepMask(blocks: 4).removing(unit: 1, .sublayer)
            $0.protected[3] = true
        }
        #expect(search.mask.removed == [0, 1, 6] && search.state.removed == 2)
        // A block of which the start lacks a part, or a part is protected, is not a unit.
        let blocks = try Self.ended(.tail, .block) {
            $0.budget.remove = 2
            $0.start = KeepMask(blocks: 4).removing(unit: 7, .sublayer)
            $0.protected[5] = true
        }
        #expect(blocks.mask.removed == [0, 1, 2, 3, 7])
        #expect(blocks.path.map(\.unit) == [nil, 1, 0])
    }

    @Test func aBudgetThatHoldsAtTheStartRemovesNothing() throws {
        for strategy in [StrategyKind.greedy, .evolutionary, .window, .tail, .random] {
            let search = try Self.ended(strategy) { $0.budget.keyValueBytes = 1000 }
            #expect(search.mask.removed.isEmpty && search.state.isMet && search.state.damage == 1)
        }
    }

    @Test func damageIsNeverExceeded() throws {
        // In order of damage: 1.1, 1.3, 1.6, 2.1, 2.7.
        let greedy = try Self.ended(.greedy) { $0.budget.maxDamage = 2.2 }
        #expect(greedy.mask.removed == [0, 1, 3, 6] && greedy.state.isMet)
        let increase = try Self.ended(.greedy) { $0.budget.maxIncrease = 0.6 + 1e-9 }
        #expect(increase.mask.removed == [1, 3, 6] && increase.state.isMet)
        let short = try Self.ended(.greedy) {
            $0.budget.maxDamage = 1.2
            $0.budget.remove = 3
        }
        #expect(short.mask.removed == [1] && !short.state.isMet)
        let none = try Self.ended(.greedy) { $0.budget.maxDamage = 0.5 }
        #expect(none.mask.removed.isEmpty && !none.state.isMet)
        let evolved = try Self.ended(.evolutionary) {
            $0.budget.maxDamage = 1.55
            $0.budget.remove = 3
        }
        #expect(evolved.mask.removed.isEmpty && !evolved.state.isMet)
        let met = try Self.ended(.evolutionary) {
            $0.budget.maxDamage = 1.65
            $0.budget.remove = 3
        }
        #expect(met.mask.removed == [1, 3, 6] && met.state.isMet)
    }

    @Test func exchangesMakeRoomForMoreRemovals() throws {
        // 0 is the first to go, and with it no third fits; without it three do.
        var damage = HandDamage(alone: [0.1, 0.2, 0.3, 0.4, 2, 2, 2, 2])
        for other in 1..<8 { damage.together[[0, other]] = 0.35 }
        var plain = try handSearch(.greedy) {
            $0.budget.maxDamage = 1.95
            $0.exchanges = 0
        }
        try plain.play { mask, _ in damage(mask) }
        #expect(plain.mask.removed == [0, 1])
        var search = try handSearch(.greedy) { $0.budget.maxDamage = 1.95 }
        try search.play { mask, _ in damage(mask) }
        #expect(search.mask.removed == [1, 2, 3])
        #expect(search.path.allSatisfy { $0.damage ?? 9 <= 1.95 })
    }

    @Test func ordersEndBeforeTheFirstMaskThatExceeds() throws {
        // From the tail on 1.9, then 1.6, since 6 heals what 7 does, 2.0, 2.1, 2.2 ...
        let damage = HandDamage(alone: [0.1, 0.1, 0.1, 0.1, 0.1, 0.4, -0.3, 0.9])
        for (most, removed) in [(1.8, []), (1.95, [6, 7]), (2.05, [5, 6, 7]), (2.15, [4, 5, 6, 7])] {
            var search = try handSearch(.tail) { $0.budget.maxDamage = most + 1e-9 }
            let asked = try search.play { mask, _ in damage(mask) }
            #expect(search.mask.removed == removed, "\(most)")
            #expect(asked.count == 8 || asked.count == 9)
            #expect(search.state.isMet && search.state.startDamage == 1)
            #expect(search.path.count == removed.count + 1)
        }
    }

    @Test func budgetsThatCannotBeMetAreRefused() throws {
        let refusals: [(PruneError?, String)] = [
            (Self.message(.greedy) { _ in }, "no budget"),
            (Self.message(.greedy) { $0.budget.remove = 9 }, "remove is 9, but only 8"),
            (Self.message(.greedy) { $0.budget.remove = -1 }, "remove is -1"),
            (Self.message(.greedy) { $0.budget.removeAttention = 5 }, "remove_attention is 5, but only 4"),
            (Self.message(.greedy, .block) { $0.budget.removeFeedForward = 1 }, "of sublayers"),
            (
                Self.message(.greedy) {
                    $0.budget.removeFeedForward = 1
                    $0.budget.remove = 1
                }, "beside"
            ),
            (Self.message(.greedy) { $0.budget.removeParameters = 1 }, "below 1"),
            (Self.message(.greedy) { $0.budget.removeParameters = 0.5 }, "100 are left"),
            (Self.message(.greedy, .attention) { $0.budget.parameterBytes = 200 }, "240 are left"),
            (
                Self.message(.greedy) {
                    $0.budget.keyValueBytes = 7
                    $0.protected[0] = true
                }, "8 are left"
            ),
            (
                Self.message(.greedy) {
                    $0.budget.remove = 2
                    $0.budget.keyValueBytes = 8
                }, "16 are left"
            ),
            (Self.message(.greedy) { $0.budget.decodeMilliseconds = 1 }, "times is NULL"),
            (
                Self.message(.greedy) {
                    $0.budget.remove = 1
                    $0.budget.times = [TokenTime(prefill: 1, decode: 1)]
                }, "needs 9"
            ),
            (Self.message(.greedy) { $0.budget.maxDamage = .nan }, "max_damage"),
            (Self.message(.greedy) { $0.budget.maxIncrease = -1 }, "max_loss_increase"),
            (Self.message(.window) { $0.budget.removeAttention = 2 }, "one run"),
            (
                Self.message(.window) {
                    $0.budget.remove = 5
                    $0.protected[3] = true
                }, "one run"
            ),
            (Self.message(.evolutionary) { $0.budget.maxDamage = 1 }, "evolutionary"),
            (
                Self.message(.tail) {
                    $0.budget.remove = 1
                    $0.offspring = 2
                }, "offspring"
            ),
            (
                Self.message(.tail) {
                    $0.budget.remove = 1
                    $0.candidates = 2
                }, "candidates"
            ),
            (
                Self.message(.evolutionary) {
                    $0.budget.remove = 1
                    $0.exchanges = 2
                }, "exchanges"
            ),
            (
                Self.message(.tail) {
                    $0.budget.remove = 1
                    $0.scores = Array(repeating: 1, count: 8)
                }, "scores"
            ),
            (
                Self.message(.oneShot) {
                    $0.budget.remove = 1
                    $0.scores = [1]
                }, "one per unit"
            ),
        ]
        for (error, part) in refusals {
            #expect(
                error?.kind == .argument && error?.message.contains(part) == true,
                "\(part): \(error?.message ?? "accepted")")
        }
        let bad = Self.message(.oneShot) {
            $0.budget.remove = 1
            $0.scores = [1, 2, .nan, 4, 5, 6, 7, 8]
        }
        #expect(bad?.kind == .nonFinite && bad?.message.contains("attn.1") == true)
        var options = SearchOptions(handCosts(blocks: 4, wholeBlocks: true), .greedy, .sublayer, SearchBudget())
        options.budget.remove = 1
        #expect { try Search(options) } throws: { ($0 as? PruneError)?.kind == .unsupported }
        options.granularity = .block
        #expect(throws: Never.self) { try Search(options) }
    }
}
