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
    }

    /// In the order of wanting.
    private(set) var records: [Record] = []
    /// For each coalition, its records.
    private var places: [Coalition: [Int]] = [:]
    /// Records before this one are asked.
    private var firstUnasked = 0
    private(set) var askedCount = 0
    private(set) var toldCount = 0

    /// Whether every coalition that was wanted was told.
    var isToldWhole: Bool { toldCount == records.count }

    /// Coalitions that were wanted and not asked for.
    var waitingCount: Int { records.count - askedCount }

    func contains(_ coalition: Coalition) -> Bool { places[coalition] != nil }

    /// Wants a coalition. `value` is what was told for it before it was saved; nil = it is to be asked for.
    mutating func want(_ coalition: Coalition, told value: Double? = nil) {
        places[coalition, default: []].append(records.count)
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
        var taken: [(place: Int, value: Double)] = []
        var used: Set<Int> = []
        for (row, (coalition, value)) in zip(coalitions, values).enumerated() {
            guard value.isFinite else {
                throw PruneError(
                    .nonFinite, "the \(quantity) of \(noun) \(row) is \(value); \(quantity)s must be finite")
            }
            let own = places[coalition] ?? []
            let isOpen = { (place: Int) in
                records[place].isAsked && records[place].value == nil && !used.contains(place)
            }
            guard let place = own.first(where: isOpen) else {
                let wasTold = own.contains { records[$0].value != nil || used.contains($0) }
                throw PruneError(
                    .argument,
                    "\(noun) \(row) was \(wasTold ? "told before" : "never asked for"); tell each once, as it was asked for"
                )
            }
            used.insert(place)
            taken.append((place, value))
        }
        for (place, value) in taken { records[place].value = value }
        toldCount += taken.count
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
