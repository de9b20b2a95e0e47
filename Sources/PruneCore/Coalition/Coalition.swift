// SPDX-License-Identifier: Apache-2.0
/// A set of players, out of `playerCount`.
struct Coalition: Hashable, Sendable {
    let playerCount: Int
    private(set) var words: [UInt64]

    /// The empty coalition.
    init(players: Int) {
        playerCount = players
        words = Array(repeating: 0, count: (players + 63) / 64)
    }

    /// The coalition of some players.
    init<Members: Sequence<Int>>(_ members: Members, of players: Int) {
        self.init(players: players)
        for player in members { insert(player) }
    }

    /// The coalition of all players.
    static func all(_ players: Int) -> Coalition { Coalition(0..<players, of: players) }

    /// The coalition whose members are the set bits of `bits`; up to 62 players.
    init(bits: Int, of players: Int) {
        self.init(players: players)
        words[0] = UInt64(bits)
    }

    /// As many 0 and 1 as players.
    init(bytes: ArraySlice<UInt8>) {
        self.init(bytes.enumerated().lazy.filter { $0.element == 1 }.map(\.offset), of: bytes.count)
    }

    var bytes: [UInt8] { (0..<playerCount).map { contains($0) ? 1 : 0 } }

    /// The members as bits of an integer; for up to 62 players.
    var bits: Int { Int(truncatingIfNeeded: words[0]) }

    var size: Int { words.reduce(0) { $0 + $1.nonzeroBitCount } }

    var members: [Int] { (0..<playerCount).filter(contains) }

    func contains(_ player: Int) -> Bool { words[player / 64] >> UInt64(player % 64) & 1 == 1 }

    mutating func insert(_ player: Int) { words[player / 64] |= 1 << UInt64(player % 64) }

    mutating func remove(_ player: Int) { words[player / 64] &= ~(1 << UInt64(player % 64)) }

    func inserting(_ player: Int) -> Coalition {
        var other = self
        other.insert(player)
        return other
    }

    func removing(_ player: Int) -> Coalition {
        var other = self
        other.remove(player)
        return other
    }

    /// The coalition with the players below `end` as they are in `other`.
    func taking(_ other: Coalition, below end: Int) -> Coalition {
        Coalition((0..<playerCount).filter { ($0 < end ? other : self).contains($0) }, of: playerCount)
    }

    /// The players that are not in it.
    var complement: Coalition { Coalition((0..<playerCount).filter { !contains($0) }, of: playerCount) }

    /// Players in one of the two but not in both.
    func difference(_ other: Coalition) -> Int {
        zip(words, other.words).reduce(0) { $0 + ($1.0 ^ $1.1).nonzeroBitCount }
    }

    /// Players that are in both.
    func sharedCount(_ other: Coalition) -> Int {
        zip(words, other.words).reduce(0) { $0 + ($1.0 & $1.1).nonzeroBitCount }
    }
}
