// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

/// What was asked for and told, of a game or a search.
@Suite struct AskedCoalitionsTests {
    private func wanting(_ wanted: [Int]) -> AskedCoalitions<Int> {
        var ledger = AskedCoalitions<Int>()
        for coalition in wanted { ledger.want(coalition) }
        return ledger
    }

    private func tell(_ ledger: inout AskedCoalitions<Int>, _ told: [Int], _ values: [Double]) throws(PruneError) {
        try ledger.tell(told, values, noun: "mask", quantity: "damage")
    }

    @Test func coalitionsAreAskedForInTheOrderOfWantingAndOnce() throws {
        var ledger = wanting([7, 3, 5])
        #expect(ledger.ask(2) == [7, 3] && ledger.ask(2) == [5] && ledger.ask(2) == [])
        ledger.want(1)
        #expect(ledger.waitingCount == 1 && ledger.askedCount == 3 && !ledger.isToldWhole)
        #expect(ledger.ask(9) == [1])
        try tell(&ledger, [1, 5, 7, 3], [1, 2, 3, 4])
        #expect(ledger.records.map(\.value) == [3, 4, 2, 1] && ledger.isToldWhole)
    }

    @Test func oneWantedTwiceIsAskedForAndToldTwice() throws {
        var ledger = wanting([4, 4])
        #expect(ledger.ask(9) == [4, 4])
        try tell(&ledger, [4, 4], [1, 2])
        #expect(ledger.records.map(\.value) == [1, 2])
    }

    @Test func tellingIsAllOrNothing() throws {
        var ledger = wanting([1, 2, 3])
        _ = ledger.ask(2)
        try tell(&ledger, [1], [0.5])
        for (told, text) in [
            ([2, 1], "mask 1 was told before"), ([2, 2], "mask 1 was told before"),
            ([2, 3], "mask 1 was never asked for"), ([2, 9], "mask 1 was never asked for"),
        ] {
            expectFault(.argument, naming: text) { try tell(&ledger, told, [1, 1]) }
        }
        expectFault(.nonFinite, naming: "damage of mask 0") { try tell(&ledger, [2], [.nan]) }
        #expect(ledger.toldCount == 1 && ledger.records.map(\.value) == [0.5, nil, nil])
    }

    @Test func whatWasAskedForAndNotToldIsAskedForAgainIfSaid() throws {
        var ledger = wanting([1, 2, 3])
        _ = ledger.ask(3)
        try tell(&ledger, [2], [1])
        #expect(ledger.ask(3) == [])
        ledger.askAgain()
        #expect(ledger.askedCount == 1 && ledger.waitingCount == 2)
        #expect(ledger.ask(3) == [1, 3])
    }

    @Test func whatWasToldBeforeItWasSavedIsNotAskedForAgain() {
        var ledger = AskedCoalitions<Int>()
        ledger.want(1, told: 5)
        ledger.want(2)
        ledger.want(3)
        ledger.restore(2, told: 6)
        #expect(ledger.askedCount == 2 && ledger.toldCount == 2)
        #expect(ledger.ask(3) == [2])
    }
}
