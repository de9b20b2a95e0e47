// SPDX-License-Identifier: Apache-2.0
/// The ledger of a game or search: which coalitions it wanted, which of them it handed out by `ask`, and the values that
/// `tell` brought back.
///
/// Coalitions are asked for in the order in which they were wanted, and told in any order. One that was wanted twice is
/// asked for and told twice.
struct AskedCoalitions<Coalition: Hashable & Sendable>: Sendable {
    /// A coalition that was wanted.
    struct Record: Sendable {
        let coalition: Coalition
        fileprivate(set) var isAsked = false
        fileprivate(set) var value: Double?
        /// The next record of the same coalition; nil = none.
        fileprivate var next: Int?
    }

    /// The records of a coalition, in their order.
    private struct Chain: Sendable {
        let first: Int
        var last: Int
        /// Those before it are told; nil = all are.
        var open: Int?
    }

    /// In the order of wanting.
    private(set) var records: [Record] = []
    private var chains: [Coalition: Chain] = [:]
    /// Records before this one are asked.
    private var firstUnasked = 0
    private(set) var askedCount = 0
    private(set) var toldCount = 0

    /// Whether every coalition that was wanted was told.
    var isToldWhole: Bool { toldCount == records.count }

    /// Coalitions that were wanted and not asked for.
    var waitingCount: Int { records.count - askedCount }

    func contains(_ coalition: Coalition) -> Bool { chains[coalition] != nil }

    /// The value that was told last for a coalition; nil = none.
    func value(of coalition: Coalition) -> Double? {
        var found: Double?
        var place = chains[coalition]?.first
        while let at = place {
            found = records[at].value ?? found
            place = records[at].next
        }
        return found
    }

    /// Bytes that the ledger takes in addition when it wants `more` coalitions, its growth by doubling included; what
    /// coalitions hold besides is not among them.
    func bytes(wanting more: Int) -> Int {
        let all = records.count.plus(clamping: more)
        let record = MemoryLayout<Record>.stride
        // A dictionary is at most three quarters full, and keeps a bit for each place.
        let entry = 2 * (MemoryLayout<Coalition>.stride + MemoryLayout<Chain>.stride) + 1
        return (all > records.capacity ? all.times(clamping: 2 * record) : 0)
            .plus(clamping: all > chains.capacity ? all.times(clamping: 2 * entry) : 0)
    }

    /// Wants a coalition. `value` is what was told for it before it was saved; nil = it is to be asked for.
    mutating func want(_ coalition: Coalition, told value: Double? = nil) {
        let place = records.count
        if let last = chains[coalition]?.last {
            records[last].next = place
            chains[coalition]?.last = place
            if chains[coalition]?.open == nil { chains[coalition]?.open = place }
        } else {
            chains[coalition] = Chain(first: place, last: place, open: place)
        }
        records.append(Record(coalition: coalition))
        if let value { restore(records.count - 1, told: value) }
    }

    /// Gives a record that was not asked for the value that was told for it before it was saved.
    mutating func restore(_ place: Int, told value: Double) {
        records[place].isAsked = true
        records[place].value = value
        askedCount += 1
        toldCount += 1
    }

    /// Up to `most` coalitions that were not asked for.
    mutating func ask(_ most: Int) -> [Coalition] {
        var handedOut: [Coalition] = []
        while firstUnasked < records.count, handedOut.count < most {
            if !records[firstUnasked].isAsked {
                records[firstUnasked].isAsked = true
                askedCount += 1
                handedOut.append(records[firstUnasked].coalition)
            }
            firstUnasked += 1
        }
        return handedOut
    }

    /// Takes values of coalitions that were asked for: all of them, or none on error.
    ///
    /// - Parameters:
    ///   - noun: what error texts call a coalition, "mask".
    ///   - quantity: what they call a value, "damage".
    /// Errors: `.argument` for a coalition that was not asked for, or was told before; `.nonFinite`.
    mutating func tell(
        _ coalitions: [Coalition], _ values: [Double], noun: String, quantity: String
    ) throws(PruneError) {
        var taken: [Int] = []
        taken.reserveCapacity(coalitions.count)
        do throws(PruneError) {
            for (row, (coalition, value)) in zip(coalitions, values).enumerated() {
                guard value.isFinite else {
                    throw PruneError(
                        .nonFinite, "the \(quantity) of \(noun) \(row) is \(value); \(quantity)s must be finite")
                }
                // Coalitions are asked for in the order of their records, so one that is open and was not asked for has no
                // such record after it that was.
                guard let place = openPlace(of: coalition), records[place].isAsked else {
                    let wasTold = self.value(of: coalition) != nil
                    throw PruneError(
                        .argument,
                        "\(noun) \(row) was \(wasTold ? "told before" : "never asked for"); tell each once, as it was asked for"
                    )
                }
                records[place].value = value
                taken.append(place)
            }
        } catch {
            for place in taken {
                records[place].value = nil
                let coalition = records[place].coalition
                let first = chains[coalition]?.first
                chains[coalition]?.open = first
            }
            throw error
        }
        toldCount += taken.count
    }

    /// The first record of a coalition that was not told; nil if there is none.
    private mutating func openPlace(of coalition: Coalition) -> Int? {
        guard let chain = chains[coalition] else { return nil }
        var open = chain.open
        while let place = open, records[place].value != nil { open = records[place].next }
        if open != chain.open { chains[coalition]?.open = open }
        return open
    }

    /// Coalitions that were asked for and not told will be asked for again.
    mutating func askAgain() {
        for place in records.indices where records[place].isAsked && records[place].value == nil {
            records[place].isAsked = false
            askedCount -= 1
            firstUnasked = min(firstUnasked, place)
        }
    }
}
