// SPDX-License-Identifier: Apache-2.0
/// Marginal contributions along random orders of the players (Castro, Gomez, Tejada 2009), three ways.
struct PermutationEstimator: Estimator {
    enum Kind: Sendable {
        /// One order a draw.
        case plain
        /// An order and its reverse a draw: what one player gains by coming early, it loses by coming late.
        case antithetic
        /// From the full coalition down, left as soon as the worth is within this of the empty coalition's, for then the
        /// rest adds next to nothing (Data Shapley, Ghorbani and Zou 2019, turned round: layer games collapse below).
        case truncated(share: Double)
    }

    let playerCount: Int
    let seed: UInt64
    let kind: Kind
    var drawCount: Int? { nil }

    var isAdaptive: Bool {
        if case .truncated = kind { true } else { false }
    }

    /// The orders of a draw: player order[0] joins first. Draw 0 is for the two ends, which every order needs.
    private func orders(_ draw: Int) -> [[Int]] {
        guard draw > 0 else { return [] }
        var random = random(seed, draw)
        let order = random.permutation(playerCount)
        if case .antithetic = kind { return [order, order.reversed()] }
        return [order]
    }

    func wanted(_ draw: Int, _ known: KnownWorths) -> [Coalition] {
        let bothEnds = [Coalition.all(playerCount), Coalition(players: playerCount)]
        if case .truncated(let share) = kind {
            guard let ends = try? known.ends() else { return bothEnds }
            return draw == 0 ? [] : firstUnknown(orders(draw)[0], known, ends, share).map { [$0] } ?? []
        }
        if draw == 0 { return bothEnds }
        return orders(draw).flatMap { order in
            var coalition = Coalition(players: playerCount)
            return order.dropLast().map { player in
                coalition.insert(player)
                return coalition
            }
        }
    }

    /// The first coalition down an order whose worth is not known; nil if the order is complete or left.
    private func firstUnknown(
        _ order: [Int], _ known: KnownWorths, _ ends: (all: Double, none: Double), _ share: Double
    ) -> Coalition? {
        var coalition = Coalition.all(playerCount)
        for player in order.dropFirst().reversed() {
            coalition.remove(player)
            guard let worth = known[coalition] else { return coalition }
            if abs(worth - ends.none) <= share * abs(ends.all - ends.none) { return nil }
        }
        return nil
    }

    /// What each player adds along an order; nil if a worth is missing.
    private func marginals(_ order: [Int], _ known: KnownWorths, _ ends: (all: Double, none: Double)) -> [Double]? {
        var result = Array(repeating: 0.0, count: playerCount)
        var coalition = Coalition.all(playerCount)
        var above = ends.all
        for player in order.reversed() {
            coalition.remove(player)
            guard let below = known[coalition] else { return nil }
            result[player] = above - below
            above = below
            if case .truncated(let share) = kind, abs(below - ends.none) <= share * abs(ends.all - ends.none) {
                // What is left between here and the empty coalition goes to the player that brought the fall.
                result[player] += below - ends.none
                break
            }
        }
        return result
    }

    func estimate(_ known: KnownWorths, draws: Int) throws(PruneError) -> Estimate {
        if let exact = exactIfWhole(known) { return exact }
        let ends = try known.ends()
        var mean = RunningMeans(playerCount)
        for draw in 1..<max(draws, 1) {
            let rows = orders(draw).compactMap { marginals($0, known, ends) }
            guard rows.count == orders(draw).count else { continue }
            mean.add((0..<playerCount).map { player in rows.reduce(0) { $0 + $1[player] } / Double(rows.count) })
        }
        guard mean.count > 0 else { throw tooFew("no order of the players is complete") }
        return Estimate(values: mean.means, standardErrors: mean.standardErrors)
    }
}

/// Means and their standard errors over rows of numbers (Welford's recurrence).
struct RunningMeans {
    private(set) var count = 0
    private(set) var means: [Double]
    private var squares: [Double]

    init(_ columns: Int) {
        means = Array(repeating: 0, count: columns)
        squares = means
    }

    mutating func add(_ row: [Double]) {
        count += 1
        for column in means.indices {
            let difference = row[column] - means[column]
            means[column] += difference / Double(count)
            squares[column] += difference * (row[column] - means[column])
        }
    }

    /// Infinity while there are fewer than four rows, which may agree by chance; scaled by the quantile of Student's t.
    var standardErrors: [Double] {
        guard count > 3 else { return means.map { _ in .infinity } }
        let scale = studentScale(freedom: count - 1)
        return squares.map { scale * ($0 / Double(count - 1) / Double(count)).squareRoot() }
    }
}

/// The 97.5 % quantile of Student's t over that of the normal distribution, so that +- 1.96 scaled errors cover 95 %.
///
/// By the expansion of Abramowitz and Stegun 26.7.5; exact values below 3 degrees of freedom, where it fails.
func studentScale(freedom: Int) -> Double {
    switch freedom {
    case ..<1: return .infinity
    case 1: return 12.706 / 1.96
    case 2: return 4.303 / 1.96
    default:
        let x = 1.959964
        let v = Double(freedom)
        let x3 = x * x * x
        let x5 = x3 * x * x
        let x7 = x5 * x * x
        let first = (x3 + x) / (4 * v)
        let second = (5 * x5 + 16 * x3 + 3 * x) / (96 * v * v)
        let third = (3 * x7 + 19 * x5 + 17 * x3 - 15 * x) / (384 * v * v * v)
        return (x + first + second + third) / x
    }
}
