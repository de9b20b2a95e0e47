// SPDX-License-Identifier: Apache-2.0
/// Where a game stands.
public struct GameState: Sendable {
    public let isDone: Bool
    public let playerCount: Int
    public let estimator: EstimatorKind
    public let asked: Int
    public let told: Int
    /// Asked for and not told.
    public var outstanding: Int { asked - told }
    /// Sum of the values - (v(all) - v(none)); nil while one of the two is unknown or there is no estimate.
    public let efficiencyGap: Double?
    /// nil while there is no estimate.
    public let largestError: Double?
    public let sublayersComputed: Int
    public let sublayersNaive: Int
}

/// A game under way, as a state machine: `ask` hands out coalitions, `tell` takes their worths, in any order.
///
/// It holds its options and the worths that were told, and its estimate is a function of these alone. So a saved game
/// resumes as if it had never stopped.
public struct Game: Sendable {
    public private(set) var options: GameOptions
    private let estimator: any Estimator

    /// Coalitions and their worths. A coalition repeats only if the estimator does.
    private(set) var ledger = AskedCoalitions<Coalition>()
    private(set) var drawsBegun = 0
    /// Draws up to the last that wanted something new: those after it depend on how coalitions were asked for.
    private(set) var drawsUsed = 0
    /// Draws that still want something, of an adaptive estimator; nil = not known, since the game was loaded.
    private var openDraws: [Int]? = []
    public var toldCount: Int { ledger.toldCount }
    public var sublayersComputed = 0
    public var sublayersNaive = 0
    private var lastEstimate: Estimate?

    public init(_ options: GameOptions) {
        self.options = options
        estimator = options.makeEstimator()
    }

    public var playerCount: Int { options.playerCount }

    /// Up to `most` coalitions whose worth is wanted next; none if the game is done or waits for worths.
    public mutating func ask(_ most: Int) -> [[UInt8]] {
        guard !isDone else { return [] }
        plan(most)
        return ledger.ask(most).map(\.bytes)
    }

    /// Proves that `ask` finds the memory that it takes. Errors: `.memory`.
    public func requireMemory(toAsk most: Int) throws(PruneError) {
        // A draw is wanted whole, and no draw wants more than two orders of the players.
        var more = max(0, most - ledger.waitingCount).plus(clamping: 2 * playerCount)
        if let budget { more = min(more, max(0, budget - ledger.records.count)) }
        if !estimator.repeats, playerCount < 60 { more = min(more, max(0, (1 << playerCount) - ledger.records.count)) }
        let handedOut = min(most, ledger.waitingCount.plus(clamping: more))
        let words = (playerCount + 63) / 64
        try Memory.require(
            ledger.bytes(wanting: more).plus(clamping: more.times(clamping: 64 + 8 * words)).plus(
                clamping: handedOut.times(clamping: 80 + playerCount)),
            for: "\(handedOut) coalitions", "ask for fewer at a time")
    }

    /// Takes worths of coalitions that were asked for: all of them, or none on error.
    ///
    /// Errors: `.argument` for a coalition that was not asked for, or was told before; `.nonFinite`.
    public mutating func tell(_ coalitions: [[UInt8]], _ worths: [Double]) throws(PruneError) {
        for (row, bytes) in coalitions.enumerated() {
            if let wrong = bytes.firstIndex(where: { $0 > 1 }) {
                throw PruneError(.argument, "coalition \(row): entry \(wrong) is \(bytes[wrong]); it must be 0 or 1")
            }
            guard bytes.count == playerCount else {
                throw PruneError(.argument, "coalition \(row) has \(bytes.count) entries for \(playerCount) players")
            }
        }
        let told = coalitions.map { Coalition(bytes: $0[...]) }
        try ledger.tell(told, worths, noun: "coalition", quantity: "worth")
        if !told.isEmpty { lastEstimate = nil }
    }

    /// Coalitions that were asked for and not told will be asked for again.
    public mutating func askAgain() { ledger.askAgain() }

    /// Wants more coalitions until `most` of them wait to be asked for, or nothing more may be wanted.
    private mutating func plan(_ most: Int) {
        if estimator.isAdaptive { return planRound() }
        let known = KnownWorths(players: playerCount)
        var waiting = ledger.waitingCount
        // A draw that wants nothing new costs nothing; after many of them in a row, everything that can be known is.
        var fruitless = 0
        while waiting < most, fruitless < 1000, drawsBegun < estimator.drawCount ?? .max {
            let wanted = estimator.wanted(drawsBegun, known)
            let new = estimator.repeats ? wanted : wanted.filter { !ledger.contains($0) }
            guard hasRoom(new.count) else { return }
            for coalition in new where estimator.repeats || !ledger.contains(coalition) { ledger.want(coalition) }
            waiting += new.count
            drawsBegun += 1
            fruitless = new.isEmpty ? fruitless + 1 : 0
            if !new.isEmpty { drawsUsed = drawsBegun }
        }
    }

    /// What an adaptive estimator wants next depends on worths, so it wants in rounds: the next one when the last was told
    /// whole. Then neither the order of telling nor the size of batches changes what is asked for.
    private mutating func planRound() {
        guard ledger.isToldWhole else { return }
        let known = self.known
        var stillOpen: [Int] = []
        for draw in openDraws ?? opened(known) {
            let wanted = estimator.wanted(draw, known)
            if !wanted.isEmpty { stillOpen.append(draw) }
            for coalition in wanted where !ledger.contains(coalition) && hasRoom(1) { ledger.want(coalition) }
        }
        defer { openDraws = stillOpen }
        // No more draws at once than the budget lets end.
        var fruitless = 0
        while stillOpen.count < Self.mostOpen, fruitless < 1000,
            hasRoom((stillOpen.count + 1) * (playerCount - 1)) || drawsBegun == 0
        {
            let wanted = estimator.wanted(drawsBegun, known)
            guard hasRoom(wanted.count) else { return }
            for coalition in wanted where !ledger.contains(coalition) { ledger.want(coalition) }
            if !wanted.isEmpty { stillOpen.append(drawsBegun) }
            drawsBegun += 1
            drawsUsed = drawsBegun
            fruitless = wanted.isEmpty ? fruitless + 1 : 0
        }
    }

    /// Draws of an adaptive estimator that want something at the same time, at most.
    private static let mostOpen = 16

    /// The draws begun that still want something.
    private func opened(_ known: KnownWorths) -> [Int] {
        (0..<drawsBegun).filter { !estimator.wanted($0, known).isEmpty }
    }

    /// Coalitions asked for at most; nil = no bound.
    private var budget: Int? { options.budget ?? (estimator.repeats ? 32 * playerCount : nil) }

    private func hasRoom(_ count: Int) -> Bool { ledger.records.count + count <= budget ?? .max }

    /// Whether a plan would find something to want: a draw that wants a new coalition, and room for it.
    private var wantsMore: Bool {
        if estimator.isAdaptive {
            var next = self
            next.planRound()
            return next.ledger.records.count > ledger.records.count
        }
        let known = KnownWorths(players: playerCount)
        var fruitless = 0
        var draw = drawsBegun
        while fruitless < 1000, draw < estimator.drawCount ?? .max {
            let new = estimator.wanted(draw, known).filter { estimator.repeats || !ledger.contains($0) }
            if !new.isEmpty { return hasRoom(new.count) }
            draw += 1
            fruitless += 1
        }
        return false
    }

    /// Sets the budget of a game that was given none.
    mutating func setBudget(_ budget: Int) { if options.budget == nil { options.budget = budget } }

    /// What was told, in the order of wanting.
    private var known: KnownWorths {
        var known = KnownWorths(players: playerCount)
        for record in ledger.records {
            if let worth = record.value { known.add(record.coalition, worth) }
        }
        return known
    }

    /// The estimate, made once for what is known. Errors: `.data` if too little was told, saying what is missing.
    public mutating func estimate() throws(PruneError) -> Estimate {
        if let lastEstimate { return lastEstimate }
        try Memory.require(
            estimateBytes, for: "an estimate from \(toldCount) worths", "play with fewer players or worths")
        var estimate = try estimator.estimate(known, draws: drawsUsed)
        guard estimate.values.allSatisfy(\.isFinite) else {
            throw PruneError(.nonFinite, "the estimate overflows; scale the worths down")
        }
        estimate.standardErrors = estimate.standardErrors.map { $0.isNaN ? .infinity : $0 }
        lastEstimate = estimate
        return estimate
    }

    /// Bytes of what is told as estimators read it.
    private var knownBytes: Int { toldCount.times(clamping: 160) }

    /// Bytes that an estimate takes at most.
    private var estimateBytes: Int {
        let (n, m) = (playerCount, toldCount)
        // Means by size and presence, of all worths and of those without a group.
        let strata = 96 * n * (n + 1)
        let own: Int =
            switch options.estimator {
            case .exact, .leaveOneOut: 0
            case .pairDifferences, .permutation, .antithetic, .truncated: 64 * n
            case .randomSubnetworks, .banzhaf: m.times(clamping: 64).plus(clamping: 512 * n)
            case .stratified: strata
            case .kernelShap: 48 * n * n
            case .surrogate:
                m.times(clamping: 16 * (n + 8)).plus(
                    clamping: 48 * (n + 4) * (n + 4) + strata + 64 * min(m, 1024) * min(m, 1024))
            }
        let table = n <= 40 && m == 1 << n ? m.times(clamping: 8) : 0
        return own.plus(clamping: table).plus(clamping: knownBytes.times(clamping: 2))
    }

    /// True if nothing more will be asked for.
    public var isDone: Bool {
        mutating get {
            guard ledger.isToldWhole else { return false }
            // A plan finds nothing to want: every draw is begun, or none fits the budget.
            if !wantsMore { return true }
            guard options.targetError != nil || options.leastCount != nil, let estimate = try? estimate() else {
                return false
            }
            if let target = options.targetError, (estimate.standardErrors.max() ?? .infinity) <= target { return true }
            return options.leastCount.map { isCertain(estimate, least: $0) } ?? false
        }
    }

    /// Whether the `least` lowest players are the lowest at the given level: each is below each of the others by a
    /// test of its own, all of them together at 1 - certainty (Bonferroni).
    private func isCertain(_ estimate: Estimate, least: Int) -> Bool {
        let order = estimate.values.indices.sorted { (estimate.values[$0], $0) < (estimate.values[$1], $1) }
        let low = order.prefix(least)
        let high = order.dropFirst(least)
        let bound = normalQuantile(1 - (1 - options.certainty) / Double(low.count * high.count))
        return low.allSatisfy { a in
            high.allSatisfy { b in
                let error =
                    (estimate.standardErrors[a] * estimate.standardErrors[a]
                    + estimate.standardErrors[b] * estimate.standardErrors[b]).squareRoot()
                return estimate.values[b] - estimate.values[a] > bound * error
            }
        }
    }

    public var state: GameState {
        mutating get {
            let estimate = try? self.estimate()
            var gap: Double?
            if let estimate, let all = ledger.value(of: .all(playerCount)),
                let none = ledger.value(of: Coalition(players: playerCount))
            {
                gap = estimate.values.reduce(0, +) - (all - none)
            }
            return GameState(
                isDone: isDone, playerCount: playerCount, estimator: options.estimator, asked: ledger.askedCount,
                told: ledger.toldCount,
                efficiencyGap: gap, largestError: estimate?.standardErrors.max(), sublayersComputed: sublayersComputed,
                sublayersNaive: sublayersNaive)
        }
    }

    /// D_i(k), by player and then k = 1 ..< n; NaN where nothing was told. Errors: `.data` if nothing was told at all.
    public func strata() throws(PruneError) -> [Double] {
        guard toldCount > 0 else { throw tooFew("nothing was told yet") }
        try Memory.require(
            knownBytes.plus(clamping: 96 * playerCount * (playerCount + 1)), for: "strata of \(playerCount) players",
            "play with fewer players or worths")
        return Strata(known).differences
    }

    /// Interactions of pairs, n x n. Errors: `.unsupported` for estimators that have none; `.data`.
    public func interactions() throws(PruneError) -> [Double] {
        try requireTable()
        switch estimator {
        case is ExactEstimator: return try WorthTable(known).interactions
        case let pairs as PairDifferencesEstimator: return try pairs.interactions(known)
        default:
            throw PruneError(.unsupported, "interactions need the estimator exact or pair_differences")
        }
    }

    /// Exact weighted Banzhaf values. Errors: `.unsupported` for estimators other than exact; `.argument`; `.data`.
    public func banzhaf(keepProbability: Double) throws(PruneError) -> [Double] {
        guard estimator is ExactEstimator else {
            throw PruneError(.unsupported, "exact Banzhaf values need the estimator exact; banzhaf estimates them")
        }
        guard keepProbability > 0, keepProbability < 1 else {
            throw PruneError(.argument, "keep_probability is \(keepProbability); it must be between 0 and 1")
        }
        try requireTable()
        return try WorthTable(known).banzhaf(keepProbability: keepProbability)
    }

    /// Errors: `.memory` if what was told, a table of it, and a number for each pair do not fit.
    private func requireTable() throws(PruneError) {
        try Memory.require(
            knownBytes.plus(clamping: toldCount.times(clamping: 8)).plus(clamping: 16 * playerCount * playerCount),
            for: "a table of \(toldCount) worths", "play with fewer players or worths")
    }
}

extension Game {
    /// A game from its saved parts. Coalitions that were asked for and not told are asked for again.
    init(
        _ options: GameOptions, worths: [(coalition: Coalition, worth: Double?)], drawsBegun: Int,
        sublayersComputed: Int, sublayersNaive: Int
    ) {
        self.init(options)
        self.drawsBegun = drawsBegun
        drawsUsed = drawsBegun
        self.sublayersComputed = sublayersComputed
        self.sublayersNaive = sublayersNaive
        for (coalition, worth) in worths { ledger.want(coalition, told: worth) }
        if estimator.isAdaptive { openDraws = nil }
    }

    /// Whether the draws that a saved game states are those that its coalitions come from: each was asked for whole, and no
    /// more than some in a row brought nothing new. A number that is too large would make every later call long.
    func drawsAreThoseBegun() -> Bool {
        guard drawsBegun <= estimator.drawCount ?? .max else { return false }
        if estimator.repeats { return drawsBegun <= ledger.records.count }
        guard !estimator.isAdaptive else {
            let known = self.known
            var open = 0
            for draw in 0..<drawsBegun where !estimator.wanted(draw, known).isEmpty {
                open += 1
                if open > Self.mostOpen { return false }
            }
            return true
        }
        let none = KnownWorths(players: playerCount)
        var drawn: Set<Coalition> = []
        var fruitless = 0
        for draw in 0..<drawsBegun {
            let before = drawn.count
            for coalition in estimator.wanted(draw, none) {
                guard ledger.contains(coalition) else { return false }
                drawn.insert(coalition)
            }
            fruitless = drawn.count == before ? fruitless + 1 : 0
            // A plan gives up after 1000, and one more is made if as many again have something.
            if fruitless > 2000 { return false }
        }
        return true
    }
}
