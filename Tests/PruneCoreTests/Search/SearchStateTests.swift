// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

@Suite struct SearchStateTests {
    static let damage = HandDamage.random(12, seed: 9)

    /// One search of every kind, with whatever makes it long.
    static let searches: [(name: String, make: @Sendable () throws -> Search)] = [
        (
            "one-shot",
            {
                try handSearch(.oneShot, blocks: 6) {
                    $0.budget.maxDamage = 6
                    $0.scores = (0..<12).map { Double($0 * 5 % 12) }
                }
            }
        ),
        ("greedy", { try handSearch(.greedy, blocks: 6) { $0.budget.remove = 5 } }),
        ("greedy for damage", { try handSearch(.greedy, blocks: 6) { $0.budget.maxIncrease = 0.7 } }),
        (
            "greedy for costs",
            {
                try handSearch(.greedy, blocks: 6) {
                    $0.budget.parameterBytes = 300
                    $0.budget.keyValueBytes = 40
                }
            }
        ),
        ("window", { try handSearch(.window, blocks: 6) { $0.budget.maxDamage = 4 } }),
        (
            "random",
            {
                try handSearch(.random, blocks: 6) {
                    $0.budget.remove = 4
                    $0.seed = 3
                }
            }
        ),
        (
            "evolutionary",
            {
                try handSearch(.evolutionary, blocks: 6) {
                    $0.budget.remove = 4
                    $0.offspring = 8
                    $0.generations = 3
                    $0.seed = 5
                }
            }
        ),
        (
            "evolutionary for costs",
            {
                try handSearch(.evolutionary, blocks: 6) {
                    $0.budget.removeParameters = 0.2
                    $0.offspring = 8
                    $0.generations = 2
                }
            }
        ),
    ]

    static func ended(_ make: () throws -> Search, batch: Int, shares: Bool) throws -> Search {
        var search = try make()
        try search.play({ damage($0, $1) }, batch: batch, takesShares: shares)
        return search
    }

    static func same(_ a: Search, _ b: Search) -> Bool {
        a.mask == b.mask && a.state.told == b.state.told && a.state.damage == b.state.damage
            && a.state.isDone == b.state.isDone && a.path.map(\.mask) == b.path.map(\.mask)
            && a.path.map(\.told) == b.path.map(\.told)
    }

    @Test(arguments: searches.indices, [false, true])
    func theSizeOfAsksDoesNotMatter(_ index: Int, _ shares: Bool) throws {
        let whole = try Self.ended(Self.searches[index].make, batch: 1000, shares: shares)
        #expect(whole.state.isDone && whole.state.told > 0)
        for batch in [1, 7] {
            #expect(Self.same(whole, try Self.ended(Self.searches[index].make, batch: batch, shares: shares)))
        }
    }

    @Test(arguments: searches.indices, [false, true])
    func aSavedSearchResumesAsIfItHadNeverStopped(_ index: Int, _ shares: Bool) throws {
        let whole = try Self.ended(Self.searches[index].make, batch: 1000, shares: shares)
        for most in stride(from: 0, through: whole.state.told, by: max(1, whole.state.told / 5)) {
            var search = try Self.searches[index].make()
            try search.play({ Self.damage($0, $1) }, batch: 5, takesShares: shares, upTo: most)
            // Some are outstanding when it is saved.
            if most % 2 == 1 { _ = try search.ask(3, takesShares: shares) }
            var loaded = try SearchDocument.read(SearchDocument.write(search))
            #expect(loaded.mask == search.mask && loaded.state.told == search.state.told)
            #expect(loaded.state.isDone == search.state.isDone && loaded.path.map(\.told) == search.path.map(\.told))
            try loaded.play({ Self.damage($0, $1) }, batch: 4, takesShares: shares)
            #expect(Self.same(loaded, whole), "\(Self.searches[index].name) after \(most)")
            let (one, other) = (SearchDocument.write(loaded), SearchDocument.write(whole))
            let isSame = one == other
            #expect(isSame, "\(Self.searches[index].name) after \(most)")
        }
    }

    @Test(arguments: searches.indices)
    func damagedBytesAreRefused(_ index: Int) throws {
        var search = try Self.searches[index].make()
        try search.play({ Self.damage($0, $1) }, batch: 5, takesShares: true, upTo: 30)
        let bytes = SearchDocument.write(search)
        for place in stride(from: 0, to: bytes.count, by: 7) {
            var damaged = bytes
            damaged[place] ^= 0x41
            #expect(throws: PruneError.self) { try SearchDocument.read(damaged) }
        }
        #expect(throws: PruneError.self) { try SearchDocument.read(Array(bytes.dropLast())) }
    }

    /// Bytes changed by somebody who makes the checksum fit: whatever they say, the reader refuses or has a whole search.
    @Test(arguments: searches.indices)
    func forgedBytesNeverHurt(_ index: Int) throws {
        var search = try Self.searches[index].make()
        try search.play({ Self.damage($0, $1) }, batch: 5, takesShares: true, upTo: 20)
        let bytes = SearchDocument.write(search)
        var refused = 0
        for place in stride(from: 12, to: bytes.count - 8, by: 13) {
            for value: UInt8 in [0x00, 0xFF] where bytes[place] != value {
                var forged = bytes
                forged[place] = value
                let sum = ByteChecksum(forged.dropLast(8)).value
                for byte in 0..<8 {
                    forged[forged.count - 8 + byte] = UInt8(truncatingIfNeeded: sum >> UInt64(8 * byte))
                }
                do throws(PruneError) {
                    var loaded = try SearchDocument.read(forged)
                    _ = (loaded.state, loaded.mask, loaded.path.count)
                    _ = try? loaded.ask(2, takesShares: true)
                } catch {
                    #expect(error.kind == .format)
                    refused += 1
                }
            }
        }
        #expect(refused > 20)
    }

    @Test func tellingIsAllOrNothing() throws {
        var search = try handSearch(.greedy) { $0.budget.remove = 2 }
        let masks = try search.ask(4, takesShares: false).masks
        let before = search.state.told
        let stranger = KeepMask(blocks: 4).removing(unit: 7, .sublayer)
        for (told, values, kind) in [
            ([masks[0], stranger], [1.0, 2.0], FailureKind.argument), ([masks[1], masks[1]], [1, 2], .argument),
            ([masks[0], masks[2]], [1, .infinity], .nonFinite), ([KeepMask(blocks: 3)], [1], .argument),
        ] {
            #expect { try search.tell(told, values) } throws: { ($0 as? PruneError)?.kind == kind }
            #expect(search.state.told == before)
        }
        try search.tell([masks[3]], [1])
        #expect(throws: PruneError.self) { try search.tell([masks[3]], [1]) }
        #expect(search.state.told == 1 && search.state.asked == 4)
    }

    @Test func masksThatWereNotToldAreAskedForAgainOnlyIfSaid() throws {
        var search = try handSearch(.greedy) { $0.budget.remove = 2 }
        let first = try search.ask(100, takesShares: false).masks
        let more = try search.ask(100, takesShares: false).masks
        #expect(first.count == 9 && more.isEmpty)
        try search.tell([first[4]], [1])
        search.askAgain()
        #expect(search.state.asked == 1)
        let again = try search.ask(100, takesShares: false).masks
        #expect(again == first.enumerated().filter { $0.offset != 4 }.map(\.element))
    }

    @Test func theFirstAskDecidesWhetherSharesAreTaken() throws {
        var search = try Self.searches[6].make()
        let first = try search.ask(100, takesShares: true)
        #expect(first.share == 1 && first.masks.count == 1)
        try search.tell(first.masks, [1])
        #expect(throws: PruneError.self) { try search.ask(1, takesShares: false) }
        #expect(try search.ask(1, takesShares: true).share == 1.0 / 16)
        var whole = try Self.searches[6].make()
        try whole.play({ Self.damage($0, $1) }, takesShares: false, upTo: 3)
        #expect(try whole.ask(1, takesShares: true).share == 1)
    }

    @Test func scoresThatAreLackingAreWaitedFor() throws {
        var search = try handSearch(.oneShot) { $0.budget.remove = 2 }
        #expect(search.lacksScores && search.mask.removed.isEmpty && !search.state.isMet && !search.state.isDone)
        #expect(throws: PruneError.self) { try search.ask(1, takesShares: false) }
        var loaded = try SearchDocument.read(SearchDocument.write(search))
        try loaded.setScores([3, 1, 3, 1, 3, 3, 3, 3])
        #expect(loaded.mask.removed == [1, 3] && !loaded.lacksScores)
    }
}
