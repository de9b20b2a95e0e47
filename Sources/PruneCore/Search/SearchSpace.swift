// SPDX-License-Identifier: Apache-2.0
/// Units that were removed, beyond those that the start of a search lacks, and what that saved.
struct Removal: Sendable, Hashable {
    var units: Coalition
    /// Units removed of each kind that is counted.
    var counts: [Int]
    /// For each bound on costs, what is left.
    var left: [Int]

    var count: Int { units.size }
    var members: [Int] { units.members }

    static func == (a: Removal, b: Removal) -> Bool { a.units == b.units }

    /// The rest follows from the units.
    func hash(into hasher: inout Hasher) { hasher.combine(units) }
}

/// What a search may choose from: units that may go, how much of them has to, and what each saves.
///
/// Costs are whole numbers, times picoseconds, so that sums are the same in any order.
struct SearchSpace: Sendable {
    /// What is left under a mask, at most.
    struct Bound: Sendable {
        /// As the header calls it, with its unit.
        let name: String
        let limit: Int
        /// What is left at the start, and what each unit takes away from that.
        let start: Int
        let savings: [Int]
        /// What one of the unit that people read counts here.
        let scale: Double
        /// All units, those that save most first.
        let order: [Int]
    }

    let granularity: Granularity
    let start: KeepMask
    let unitCount: Int
    /// Units that may go: kept whole by the start, and not protected. Ascending.
    let removable: [Int]
    let bounds: [Bound]
    /// Units to remove of each kind, exactly; empty = not counted.
    let quotas: [Int]
    let budget: SearchBudget
    private let canGo: [Bool]

    /// Errors: `.argument` if the budget cannot be met, saying what is left when all that may go is gone, or bounds a cost
    /// that is not known.
    init(_ options: SearchOptions) throws(PruneError) {
        let costs = options.costs
        let budget = options.budget
        let granularity = options.granularity
        let start = options.start
        self.granularity = granularity
        self.start = start
        self.budget = budget
        unitCount = granularity.unitCount(blocks: costs.blockCount)
        let canGo = (0..<unitCount).map { unit in
            granularity.sublayers(ofUnit: unit).allSatisfy { start.keeps($0) && !options.protected[$0] }
        }
        self.canGo = canGo
        removable = canGo.indices.filter { canGo[$0] }
        quotas =
            budget.remove.map { [$0] }
            ?? (budget.countsKinds ? [budget.removeAttention ?? 0, budget.removeFeedForward ?? 0] : [])
        bounds = try Self.bounds(budget, costs, granularity, start)
        try checkReachable()
    }

    private static func bounds(
        _ budget: SearchBudget, _ costs: SearchCosts, _ granularity: Granularity, _ start: KeepMask
    ) throws(PruneError) -> [Bound] {
        func bound(
            _ name: String, limit: Int, scale: Double = 1, fixed: Int, _ cost: (Int) -> Int
        ) throws(PruneError) -> Bound {
            // A host need not say what its sublayers cost; then any bound would seem to hold.
            guard costs.sublayers.indices.contains(where: { cost($0) > 0 }) else {
                throw PruneError(
                    .argument, "there is a bound on \(name), but it is not known what of that any sublayer takes")
            }
            let units = 0..<granularity.unitCount(blocks: costs.blockCount)
            let savings = units.map { granularity.sublayers(ofUnit: $0).reduce(0) { $0 + cost($1) } }
            return Bound(
                name: name, limit: limit, start: start.kept.reduce(fixed) { $0 + cost($1) }, savings: savings,
                scale: scale, order: units.sorted { (savings[$1], $0) < (savings[$0], $1) })
        }
        var bounds: [Bound] = []
        if let removed = budget.removeParameters {
            let all = costs.cost(under: KeepMask(blocks: costs.blockCount)).parameters
            // A share such as 0.3 is not a binary fraction: what rounding adds to it is not asked for.
            let share = Double(all) * removed * (1 - 1e-12)
            let most = Int(clampingToDouble: (Double(all) - share).rounded(.down))
            bounds.append(
                try bound("parameters", limit: most, fixed: costs.fixed.parameters) {
                    costs.sublayers[$0].parameters
                })
        }
        if let limit = budget.parameterBytes {
            bounds.append(
                try bound("parameter_bytes", limit: limit, fixed: costs.fixed.parameterBytes) {
                    costs.sublayers[$0].parameterBytes
                })
        }
        if let limit = budget.keyValueBytes {
            bounds.append(
                try bound("kv_bytes", limit: limit, fixed: 0) {
                    costs.sublayers[$0].keyValueBytes
                })
        }
        let picoseconds = { (milliseconds: Double) in Int(clampingToDouble: (milliseconds * 1e9).rounded()) }
        for (name, most, time) in [
            ("prefill_ms", budget.prefillMilliseconds, \TokenTime.prefill),
            ("decode_ms", budget.decodeMilliseconds, \TokenTime.decode),
        ] {
            guard let most else { continue }
            let own = budget.times.map { picoseconds($0[keyPath: time]) }
            bounds.append(try bound(name, limit: picoseconds(most), scale: 1e9, fixed: own.last ?? 0) { own[$0] })
        }
        return bounds
    }

    /// Whether something besides damage says how much is to be removed.
    var hasTarget: Bool { !quotas.isEmpty || !bounds.isEmpty }

    /// Nothing removed beyond the start.
    var nothing: Removal {
        Removal(
            units: Coalition(players: unitCount), counts: Array(repeating: 0, count: quotas.count),
            left: bounds.map(\.start))
    }

    /// The kind that a unit counts as.
    func kind(_ unit: Int) -> Int { quotas.count == 2 ? unit % 2 : 0 }

    /// Removes a unit that is there.
    func remove(_ unit: Int, from removal: inout Removal) {
        removal.units.insert(unit)
        if !quotas.isEmpty { removal.counts[kind(unit)] += 1 }
        for index in bounds.indices { removal.left[index] -= bounds[index].savings[unit] }
    }

    /// Puts a unit back that is not there.
    func putBack(_ unit: Int, into removal: inout Removal) {
        removal.units.remove(unit)
        if !quotas.isEmpty { removal.counts[kind(unit)] -= 1 }
        for index in bounds.indices { removal.left[index] += bounds[index].savings[unit] }
    }

    func removing(_ unit: Int, from removal: Removal) -> Removal {
        var other = removal
        remove(unit, from: &other)
        return other
    }

    func puttingBack(_ unit: Int, into removal: Removal) -> Removal {
        var other = removal
        putBack(unit, into: &other)
        return other
    }

    func removal(of units: some Sequence<Int>) -> Removal {
        var removal = nothing
        for unit in units { remove(unit, from: &removal) }
        return removal
    }

    func mask(_ removal: Removal) -> KeepMask {
        start.removing(units: removal.members, granularity)
    }

    /// Whether a unit may be removed at all.
    func isRemovable(_ unit: Int) -> Bool { canGo[unit] }

    /// Whether all bounds but those on damage hold.
    func isMet(_ removal: Removal) -> Bool {
        removal.counts == quotas && zip(removal.left, bounds).allSatisfy { $0 <= $1.limit }
    }

    /// Units that may go next, ascending; none once all bounds hold.
    ///
    /// Where units are counted, those whose removal leaves every bound within reach; else those that help a bound that does
    /// not hold yet, for the damage of others would be for nothing. A unit that may not go now may not go later.
    func next(_ removal: Removal) -> [Int] {
        if hasTarget, isMet(removal) { return [] }
        return removable.filter { mayGo($0, after: removal) }
    }

    func mayGo(_ unit: Int, after removal: Removal) -> Bool {
        guard canGo[unit], !removal.units.contains(unit) else { return false }
        guard hasTarget else { return true }
        if quotas.isEmpty {
            return bounds.indices.contains { removal.left[$0] > bounds[$0].limit && bounds[$0].savings[unit] > 0 }
        }
        guard removal.counts[kind(unit)] < quotas[kind(unit)] else { return false }
        return bounds.isEmpty || canBeMet(removing(unit, from: removal))
    }

    /// Whether each bound by itself can still be made to hold.
    private func canBeMet(_ removal: Removal) -> Bool {
        bounds.indices.allSatisfy { leastLeft($0, after: removal) <= bounds[$0].limit }
    }

    /// What is left of a bound's cost when the units that save the most of it are removed, as many as may go.
    private func leastLeft(_ bound: Int, after removal: Removal) -> Int {
        let savings = bounds[bound].savings
        var room = zip(quotas, removal.counts).map { $0 - $1 }
        var left = removal.left[bound]
        for unit in bounds[bound].order where canGo[unit] && !removal.units.contains(unit) {
            if !quotas.isEmpty {
                guard room[kind(unit)] > 0 else { continue }
                room[kind(unit)] -= 1
            }
            left -= savings[unit]
        }
        return left
    }

    private func checkReachable() throws(PruneError) {
        for (index, quota) in quotas.enumerated() {
            let own = removable.count { kind($0) == index }
            guard quota <= own else {
                let name = quotas.count == 1 ? "remove" : index == 0 ? "remove_attention" : "remove_feed_forward"
                throw PruneError(.argument, "options.\(name) is \(quota), but only \(own) may go")
            }
        }
        for (index, bound) in bounds.enumerated() {
            let least = leastLeft(index, after: nothing)
            guard least <= bound.limit else {
                throw PruneError(
                    .argument,
                    "the budget cannot be met: \(bound.name) may be \(text(bound.limit, bound)), but \(text(least, bound)) are left when everything that may go is gone"
                )
            }
        }
    }

    /// A cost as people read it.
    func text(_ value: Int, _ bound: Bound) -> String {
        bound.scale == 1 ? "\(value)" : "\(Double(value) / bound.scale)"
    }
}

extension Int {
    /// The whole number nearest to a finite value that may be beyond all whole numbers.
    init(clampingToDouble value: Double) {
        self = value >= 0x1p62 ? 1 << 62 : value <= -0x1p62 ? -(1 << 62) : Int(value)
    }
}
