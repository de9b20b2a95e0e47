// SPDX-License-Identifier: Apache-2.0
/// A search as bytes: a mark, a version, costs and options, what was wanted and told, and a checksum. Little-endian, the same
/// on every machine.
public enum SearchDocument {
    private static let mark = "PRUNSRCH"
    private static let version: UInt32 = 1

    /// Bytes of a saved search, no fewer than it has.
    public static func size(of search: Search) -> Int {
        let units = search.options.granularity.unitCount(blocks: search.options.costs.blockCount)
        let removals = search.waves.reduce(0) { $0 + $1.removals.count }
        return 1024 + 64 * search.options.costs.sublayers.count + 8 * (search.options.scores?.count ?? 0)
            + 17 * search.waves.count + removals * (17 + units / 8)
    }

    public static func write(_ search: Search) -> [UInt8] {
        var out = ByteWriter(mark: mark, version: version)
        let options = search.options
        write(options.costs, to: &out)
        out.add(UInt32(bitPattern: options.strategy.rawValue))
        out.add(UInt32(bitPattern: options.granularity.rawValue))
        out.add(options.seed)
        write(options.budget, to: &out)
        for keeps in options.start.keeps { out.add(UInt8(keeps ? 1 : 0)) }
        for isProtected in options.protected { out.add(UInt8(isProtected ? 1 : 0)) }
        out.add(UInt8(options.scores == nil ? 0 : 1))
        out.add(UInt64(options.scores?.count ?? 0))
        for score in options.scores ?? [] { out.add(score) }
        // 0 = the usual, -1 = none.
        out.add(Int64(options.exchanges.map { $0 == 0 ? -1 : $0 } ?? 0))
        for number in [options.candidates, options.offspring, options.generations, options.patience] {
            out.add(bound: number)
        }

        out.add(UInt8(search.takesShares.map { $0 ? 2 : 1 } ?? 0))
        out.add(UInt8(search.isDone ? 1 : 0))
        out.add(UInt64(search.sublayersComputed))
        out.add(UInt64(search.sublayersNaive))
        out.add(UInt64(search.waves.count))
        for wave in search.waves {
            out.add(wave.share)
            out.add(UInt8(wave.isProposed ? 1 : 0))
            out.add(UInt64(wave.removals.count))
            for (removal, damage) in zip(wave.removals, search.damages(of: wave)) {
                out.add(UInt8(damage == nil ? 0 : 1))
                out.add(damage ?? 0)
                for word in removal.units.words { out.add(word) }
            }
        }
        out.seal()
        return out.bytes
    }

    private static func write(_ costs: SearchCosts, to out: inout ByteWriter) {
        out.add(UInt64(costs.blockCount))
        out.add(UInt8(costs.hasWholeBlocks ? 1 : 0))
        for own in [costs.fixed] + costs.sublayers {
            for number in [own.parameters, own.parameterBytes, own.keyValueBytes] { out.add(UInt64(number)) }
        }
    }

    private static func write(_ budget: SearchBudget, to out: inout ByteWriter) {
        for number in [
            budget.remove, budget.removeAttention, budget.removeFeedForward, budget.parameterBytes,
            budget.keyValueBytes,
        ] { out.add(bound: number) }
        for number in [
            budget.removeParameters, budget.prefillMilliseconds, budget.decodeMilliseconds, budget.maxIncrease,
            budget.maxDamage,
        ] { out.add(bound: number) }
        out.add(UInt8(budget.times.isEmpty ? 0 : 1))
        for time in budget.times {
            out.add(time.prefill)
            out.add(time.decode)
        }
    }

    /// Errors: `.format` if the bytes are damaged or no saved search; `.unsupported` for a later version.
    public static func read(_ bytes: [UInt8]) throws(PruneError) -> Search {
        // A removal of 17 bytes or more becomes a removal, a mask, a record and an entry of two dictionaries.
        try Memory.require(bytes.count.times(clamping: 64), for: "the saved search", "end other work first")
        var reader = try ByteReader(bytes, mark: mark, version: version, name: "saved search")
        let options = try readOptions(&reader)
        let shares = try flag(&reader, upTo: 2)
        let isDone = try flag(&reader) == 1
        let computed = try reader.count()
        let naive = try reader.count()
        // Makes what sets consist of, and refuses options that contradict each other.
        let space: SearchSpace
        do throws(PruneError) { space = try Search(options).space } catch { throw reader.damaged(error.message) }
        var waves: [Search.SavedWave] = []
        for _ in 0..<(try reader.count()) {
            let share = try reader.double()
            let isProposed = try flag(&reader) == 1
            var removals: [Removal] = []
            var damages: [Double?] = []
            for _ in 0..<(try reader.count()) {
                let isTold = try flag(&reader) == 1
                let damage = try reader.double()
                guard damage.isFinite else { throw reader.damaged("a damage is \(damage)") }
                let units = try readUnits(&reader, of: space.unitCount)
                removals.append(space.removal(of: units))
                damages.append(isTold ? damage : nil)
            }
            waves.append(
                Search.SavedWave(share: share, isProposed: isProposed, removals: removals, damages: damages))
        }
        guard reader.isAtEnd else { throw reader.damaged("bytes follow the end") }
        do throws(PruneError) {
            return try Search(
                options, takesShares: shares == 0 ? nil : shares == 2, waves: waves, isDone: isDone,
                sublayersComputed: computed, sublayersNaive: naive)
        } catch { throw reader.damaged(error.message) }
    }

    private static func readOptions(_ reader: inout ByteReader) throws(PruneError) -> SearchOptions {
        let costs = try readCosts(&reader)
        let strategy: UInt32 = try reader.next()
        let granularity: UInt32 = try reader.next()
        guard let strategy = StrategyKind(rawValue: Int32(truncatingIfNeeded: strategy)),
            let granularity = Granularity(rawValue: Int32(truncatingIfNeeded: granularity))
        else { throw reader.damaged("strategy \(strategy) or granularity \(granularity) is unknown") }
        let seed: UInt64 = try reader.next()
        var options = SearchOptions(
            costs, strategy, granularity, try readBudget(&reader, sublayers: costs.sublayers.count))
        options.seed = seed
        var keeps: [UInt8] = []
        for _ in costs.sublayers { keeps.append(UInt8(try flag(&reader))) }
        options.start = try KeepMask(bytes: keeps)
        for sublayer in costs.sublayers.indices { options.protected[sublayer] = try flag(&reader) == 1 }
        let hasScores = try flag(&reader) == 1
        let count = try reader.count()
        guard count <= reader.rest / 8 else { throw reader.damaged("it claims \(count) scores") }
        var scores: [Double] = []
        for _ in 0..<count { scores.append(try reader.double()) }
        if hasScores { options.scores = scores }
        let exchanges: Int64 = try reader.next()
        options.exchanges = exchanges == 0 ? nil : exchanges == -1 ? 0 : Int(exchanges)
        options.candidates = try reader.bound()
        options.offspring = try reader.bound()
        options.generations = try reader.bound()
        options.patience = try reader.bound()
        return options
    }

    private static func readCosts(_ reader: inout ByteReader) throws(PruneError) -> SearchCosts {
        let blocks = try reader.count()
        guard (1...KeepMask.mostBlocks).contains(blocks) else { throw reader.damaged("it claims \(blocks) blocks") }
        let hasWholeBlocks = try flag(&reader) == 1
        var costs: [ModelCost] = []
        for _ in 0...2 * blocks {
            costs.append(
                ModelCost(
                    parameters: try reader.count(), parameterBytes: try reader.count(),
                    keyValueBytes: try reader.count()))
        }
        return SearchCosts(fixed: costs[0], sublayers: Array(costs.dropFirst()), hasWholeBlocks: hasWholeBlocks)
    }

    private static func readBudget(_ reader: inout ByteReader, sublayers: Int) throws(PruneError) -> SearchBudget {
        var budget = SearchBudget()
        budget.remove = try reader.bound()
        budget.removeAttention = try reader.bound()
        budget.removeFeedForward = try reader.bound()
        budget.parameterBytes = try reader.bound()
        budget.keyValueBytes = try reader.bound()
        budget.removeParameters = try reader.doubleBound()
        budget.prefillMilliseconds = try reader.doubleBound()
        budget.decodeMilliseconds = try reader.doubleBound()
        budget.maxIncrease = try reader.doubleBound()
        budget.maxDamage = try reader.doubleBound()
        guard try flag(&reader) == 1 else { return budget }
        for _ in 0...sublayers {
            budget.times.append(TokenTime(prefill: try reader.double(), decode: try reader.double()))
        }
        return budget
    }

    private static func flag(_ reader: inout ByteReader, upTo most: Int = 1) throws(PruneError) -> Int {
        let value: UInt8 = try reader.next()
        guard value <= most else { throw reader.damaged("a flag is \(value)") }
        return Int(value)
    }

    private static func readUnits(_ reader: inout ByteReader, of count: Int) throws(PruneError) -> [Int] {
        var units: [Int] = []
        for word in 0..<(count + 63) / 64 {
            var bits: UInt64 = try reader.next()
            while bits != 0 {
                let unit = word * 64 + bits.trailingZeroBitCount
                guard unit < count else { throw reader.damaged("a mask removes unit \(unit) of \(count)") }
                units.append(unit)
                bits &= bits - 1
            }
        }
        return units
    }
}
