// SPDX-License-Identifier: Apache-2.0
/// A game as bytes: a mark, a version, the options, what was told, and a checksum. Little-endian, the same on every machine.
public enum GameDocument {
    private static let mark = "PRUNGAME"
    private static let version: UInt32 = 1

    /// Bytes of a saved game, no fewer than it has.
    public static func size(of game: Game) -> Int {
        256 + game.ledger.records.count * (9 + 8 * ((game.playerCount + 63) / 64))
    }

    public static func write(_ game: Game) -> [UInt8] {
        var out = ByteWriter(mark: mark, version: version)
        let options = game.options
        out.add(UInt64(options.playerCount))
        out.add(UInt32(bitPattern: options.estimator.rawValue))
        out.add(options.seed)
        out.add(bound: options.budget)
        out.add(bound: options.targetError)
        out.add(bound: options.leastCount)
        out.add(options.certainty)
        out.add(options.keepProbability)
        out.add(UInt64(options.subnetworkSize))
        out.add(UInt64(options.subnetworksPerRound))
        out.add(options.truncation)
        out.add(UInt64(game.drawsUsed))
        out.add(UInt64(game.sublayersComputed))
        out.add(UInt64(game.sublayersNaive))
        out.add(UInt64(game.ledger.records.count))
        for record in game.ledger.records {
            out.add(UInt8(record.value == nil ? 0 : 1))
            out.add(record.value ?? 0)
            for word in record.coalition.words { out.add(word) }
        }
        out.seal()
        return out.bytes
    }

    /// Errors: `.format` if the bytes are damaged or no saved game; `.unsupported` for a later version.
    public static func read(_ bytes: [UInt8]) throws(PruneError) -> Game {
        var reader = try ByteReader(bytes, mark: mark, version: version, name: "saved game")
        let players = try reader.count()
        let rawEstimator: UInt32 = try reader.next()
        guard let estimator = EstimatorKind(rawValue: Int32(bitPattern: rawEstimator)) else {
            throw reader.damaged("estimator \(rawEstimator) is unknown")
        }
        let options: GameOptions
        do throws(PruneError) {
            options = try GameOptions(
                players: players, estimator: estimator, seed: try reader.next(), budget: try reader.bound(),
                targetError: try reader.doubleBound(), leastCount: try reader.bound(),
                certainty: try reader.double(), keepProbability: try reader.double(),
                subnetworkSize: try reader.count(), subnetworksPerRound: try reader.count(),
                truncation: try reader.double())
        } catch { throw reader.damaged(error.message) }
        let draws = try reader.count()
        let computed = try reader.count()
        let naive = try reader.count()
        let count = try reader.count()
        let words = (players + 63) / 64
        guard count <= bytes.count / (9 + 8 * words), draws <= (count + 1) * 1001 else {
            throw reader.damaged("it claims \(count) coalitions and \(draws) draws")
        }
        // A coalition with its array, a row of the list, and what the ledger makes of both.
        try Memory.require(
            count.times(clamping: 640 + 16 * words), for: "\(count) coalitions of the saved game",
            "end other work first"
        )
        var worths: [(coalition: Coalition, worth: Double?)] = []
        worths.reserveCapacity(count)
        for _ in 0..<count {
            let isTold: UInt8 = try reader.next()
            let worth = try reader.double()
            var coalition = Coalition(players: players)
            for word in 0..<words {
                var bits: UInt64 = try reader.next()
                while bits != 0 {
                    let player = word * 64 + bits.trailingZeroBitCount
                    guard player < players else {
                        throw reader.damaged("a coalition has player \(player) of \(players)")
                    }
                    coalition.insert(player)
                    bits &= bits - 1
                }
            }
            guard isTold <= 1, worth.isFinite else { throw reader.damaged("a worth is \(worth)") }
            worths.append((coalition, isTold == 1 ? worth : nil))
        }
        guard reader.isAtEnd else { throw reader.damaged("bytes follow the end") }
        let game = Game(
            options, worths: worths, drawsBegun: draws, sublayersComputed: computed, sublayersNaive: naive)
        guard game.drawsAreThoseBegun() else {
            throw reader.damaged("its \(count) coalitions are not those of \(draws) draws")
        }
        return game
    }
}
