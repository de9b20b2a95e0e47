// SPDX-License-Identifier: Apache-2.0
/// What is known of a game: coalitions and their worths, in the order in which they were asked for.
struct KnownWorths {
    let playerCount: Int
    private(set) var coalitions: [Coalition] = []
    private(set) var worths: [Double] = []
    private var places: [Coalition: Int] = [:]

    init(players: Int) { playerCount = players }

    mutating func add(_ coalition: Coalition, _ worth: Double) {
        places[coalition] = coalitions.count
        coalitions.append(coalition)
        worths.append(worth)
    }

    subscript(_ coalition: Coalition) -> Double? { places[coalition].map { worths[$0] } }

    var count: Int { coalitions.count }

    /// True if every coalition of the game is known.
    var isWhole: Bool { playerCount < 40 && places.count == 1 << playerCount }

    /// The worths of the full and the empty coalition. Errors: `.data` if one is not known yet.
    func ends() throws(PruneError) -> (all: Double, none: Double) {
        guard let all = self[.all(playerCount)], let none = self[Coalition(players: playerCount)] else {
            throw PruneError(.data, "the worth of the full or of the empty coalition was not told yet")
        }
        return (all, none)
    }

    /// Those whose place among the known satisfies `keeps`.
    func filtered(_ keeps: (Int) -> Bool) -> KnownWorths {
        var part = KnownWorths(players: playerCount)
        for place in coalitions.indices where keeps(place) { part.add(coalitions[place], worths[place]) }
        return part
    }
}

/// A value for every player, and how sure it is.
public struct Estimate: Sendable {
    public internal(set) var values: [Double]
    /// Scaled so that value +- 1.96 of them covers the exact value in about 95 of 100 cases; 0 = exact, infinity = unknown.
    public internal(set) var standardErrors: [Double]
}

/// A way to estimate the values of a game from the worths of some coalitions.
///
/// What it wants to know comes in draws, numbered from 0. A draw is a function of the estimator's seed, its number and, for
/// an adaptive estimator, of worths already known: nothing else is remembered, so a game is its options and its worths.
protocol Estimator: Sendable {
    var playerCount: Int { get }

    /// Draws that there are; nil = no end.
    var drawCount: Int? { get }

    /// True if what a draw wants depends on worths: it is then asked again whenever one becomes known.
    var isAdaptive: Bool { get }

    /// True if a coalition that comes up twice is to be told twice: its worth is not a fixed number.
    var repeats: Bool { get }

    /// The coalitions that a draw still wants, known and asked ones among them or not; empty if it is complete.
    func wanted(_ draw: Int, _ known: KnownWorths) -> [Coalition]

    /// Errors: `.data` if too little is known, saying what.
    func estimate(_ known: KnownWorths, draws: Int) throws(PruneError) -> Estimate
}

extension Estimator {
    var isAdaptive: Bool { false }
    var repeats: Bool { false }

    /// The random numbers of a draw.
    func random(_ seed: UInt64, _ draw: Int) -> RandomSource { RandomSource(seed: seed, stream: UInt64(draw)) }
}

/// The error of estimators that need more worths.
func tooFew(_ what: String) -> PruneError {
    PruneError(.data, "too few worths for an estimate: \(what)")
}
