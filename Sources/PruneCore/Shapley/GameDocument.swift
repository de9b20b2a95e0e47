/// A game as bytes: a mark, a version, the options, what was told, and a checksum. Little-endian, the same on every machine.
public enum GameDocument {
    private static let mark: [UInt8] = Array("PRUNGAME".utf8)
    private static let version: UInt32 = 1

    public static func write(_ game: Game) -> [UInt8] {
        var out = Writer()
        out.bytes += mark
        out.add(version)
        let options = game.options
        out.add(UInt64(options.playerCount))
        out.add(UInt32(bitPattern: options.estimator.rawValue))
        out.add(options.seed)
        out.add(UInt64(options.budget ?? 0))
        out.add(options.targetError.bitPattern)
        out.add(UInt64(options.leastCount))
        out.add(options.certainty.bitPattern)
        out.add(options.keepProbability.bitPattern)
        out.add(UInt64(options.subnetworkSize))
        out.add(UInt64(options.subnetworksPerRound))
        out.add(options.truncation.bitPattern)
        out.add(UInt64(game.drawsUsed))
        out.add(UInt64(game.sublayersComputed))
        out.add(UInt64(game.sublayersNaive))
        out.add(UInt64(game.records.count))
        for record in game.records {
            out.bytes.append(record.worth == nil ? 0 : 1)
            out.add((record.worth ?? 0).bitPattern)
            for word in record.coalition.words { out.add(word) }
        }
        out.add(checksum(out.bytes[...]))
        return out.bytes
    }

    /// Errors: `.format` if the bytes are damaged or no saved game; `.unsupported` for a later version.
    public static func read(_ bytes: [UInt8]) throws(PruneError) -> Game {
        guard bytes.starts(with: mark) else { throw PruneError(.format, "these bytes are no saved game") }
        var reader = Reader(bytes: bytes.dropLast(8), position: mark.count)
        let found: UInt32 = try reader.next()
        guard bytes.count > mark.count + 12 else { throw damaged("they end too early") }
        var end = Reader(bytes: bytes[...], position: bytes.count - 8)
        let sum: UInt64 = try end.next()
        guard sum == checksum(bytes.dropLast(8)) else { throw damaged("the checksum does not fit") }
        guard found == version else {
            throw PruneError(.unsupported, "the saved game has version \(found), this library reads \(version); use a newer one")
        }
        let players = try reader.count()
        let rawEstimator: UInt32 = try reader.next()
        guard let estimator = EstimatorKind(rawValue: Int32(bitPattern: rawEstimator)) else {
            throw damaged("estimator \(rawEstimator) is unknown")
        }
        let options: GameOptions
        do throws(PruneError) {
            options = try GameOptions(
                players: players, estimator: estimator, seed: try reader.next(), budget: try reader.count(),
                targetError: Double(bitPattern: try reader.next()), leastCount: try reader.count(),
                certainty: Double(bitPattern: try reader.next()), keepProbability: Double(bitPattern: try reader.next()),
                subnetworkSize: try reader.count(), subnetworksPerRound: try reader.count(),
                truncation: Double(bitPattern: try reader.next()))
        } catch { throw damaged(error.message) }
        let draws = try reader.count()
        let computed = try reader.count()
        let naive = try reader.count()
        let count = try reader.count()
        let words = (players + 63) / 64
        guard count <= bytes.count / (9 + 8 * words), draws <= (count + 1) * 1001 else {
            throw damaged("it claims \(count) coalitions and \(draws) draws")
        }
        var records: [Game.Record] = []
        for _ in 0..<count {
            let isTold: UInt8 = try reader.next()
            let worth = Double(bitPattern: try reader.next())
            var coalition = Coalition(players: players)
            for word in 0..<words {
                var bits: UInt64 = try reader.next()
                while bits != 0 {
                    let player = word * 64 + bits.trailingZeroBitCount
                    guard player < players else { throw damaged("a coalition has player \(player) of \(players)") }
                    coalition.insert(player)
                    bits &= bits - 1
                }
            }
            guard isTold <= 1, worth.isFinite else { throw damaged("a worth is \(worth)") }
            records.append(Game.Record(coalition: coalition, isAsked: isTold == 1, worth: isTold == 1 ? worth : nil))
        }
        guard reader.isAtEnd else { throw damaged("bytes follow the end") }
        return Game(
            options, records: records, drawsBegun: draws, sublayersComputed: computed, sublayersNaive: naive)
    }

    private static func damaged(_ what: String) -> PruneError {
        PruneError(.format, "the saved game is damaged: \(what)")
    }

    /// FNV-1a with 64 bits: each step is a bijection of the state, so no single damaged byte goes unnoticed.
    private static func checksum(_ bytes: ArraySlice<UInt8>) -> UInt64 {
        bytes.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01B3 }
    }

    private struct Writer {
        var bytes: [UInt8] = []

        mutating func add<Value: FixedWidthInteger>(_ value: Value) {
            withUnsafeBytes(of: value.littleEndian) { bytes += $0 }
        }
    }

    private struct Reader {
        let bytes: ArraySlice<UInt8>
        var position: Int

        var isAtEnd: Bool { position == bytes.endIndex }

        mutating func next<Value: FixedWidthInteger>() throws(PruneError) -> Value {
            let size = MemoryLayout<Value>.size
            guard bytes.endIndex - position >= size else { throw damaged("they end too early") }
            var value: Value = 0
            for index in (0..<size).reversed() {
                value = (size == 1 ? 0 : value << 8) | Value(truncatingIfNeeded: bytes[position + index])
            }
            position += size
            return value
        }

        /// A number that fits an Int and could be a count.
        mutating func count() throws(PruneError) -> Int {
            let value: UInt64 = try next()
            guard value <= 1 << 48 else { throw damaged("a count is \(value)") }
            return Int(value)
        }
    }
}
