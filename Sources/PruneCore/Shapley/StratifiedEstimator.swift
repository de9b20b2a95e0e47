// SPDX-License-Identifier: Apache-2.0
/// Means by size and by presence of each player; every worth counts for every player (SVARM: Kolpaczki et al. 2024).
struct StratifiedEstimator: Estimator {
    let playerCount: Int
    let draws: PairedDraws
    var drawCount: Int? { nil }

    init(playerCount: Int, seed: UInt64) {
        self.playerCount = playerCount
        draws = PairedDraws(playerCount: playerCount, seed: seed)
    }

    func wanted(_ draw: Int, _ known: KnownWorths) -> [Coalition] { draws.coalitions(draw) }

    func estimate(_ known: KnownWorths, draws: Int) throws(PruneError) -> Estimate {
        if let exact = exactIfWhole(known) { return exact }
        _ = try known.ends()
        let groups = JackknifeGroups(known, unit: 2, stays: isEnd)
        return Estimate(
            values: Strata(known).shapley,
            standardErrors: groups.standardErrors(known, players: playerCount) { Strata($0).shapley })
    }
}

/// Mean worths by size of the coalition and presence of a player.
struct Strata {
    let playerCount: Int
    /// At player * (n + 1) + size: sum and count of the worths of coalitions with the player, and without it.
    private var with: [(sum: Double, count: Int)]
    private var without: [(sum: Double, count: Int)]

    init(_ known: KnownWorths) { self.init(known.playerCount, known.coalitions, known.worths) }

    init(_ players: Int, _ coalitions: [Coalition], _ worths: [Double]) {
        playerCount = players
        with = Array(repeating: (0, 0), count: players * (players + 1))
        without = with
        for (coalition, worth) in zip(coalitions, worths) {
            let size = coalition.size
            for player in 0..<players {
                let place = player * (players + 1) + size
                if coalition.contains(player) {
                    with[place].sum += worth
                    with[place].count += 1
                } else {
                    without[place].sum += worth
                    without[place].count += 1
                }
            }
        }
    }

    private func mean(_ cell: (sum: Double, count: Int)) -> Double? {
        cell.count > 0 ? cell.sum / Double(cell.count) : nil
    }

    /// D_i(k) for k = 1 ..< n, by player and then k; NaN where a mean has no coalition.
    var differences: [Double] {
        (0..<playerCount).flatMap { player in
            (1..<max(playerCount, 1)).map { size in
                let place = player * (playerCount + 1) + size
                guard let a = mean(with[place]), let b = mean(without[place]) else { return Double.nan }
                return a - b
            }
        }
    }

    /// phi_i = (v(all) - v(none)) / n + (1 / n) * sum over k of D_i(k), with 0 for the strata that are empty.
    var shapley: [Double] {
        let strata = differences
        let n = Double(playerCount)
        return (0..<playerCount).map { player in
            let all = mean(with[player * (playerCount + 1) + playerCount]) ?? 0
            let none = mean(without[player * (playerCount + 1)]) ?? 0
            let own = strata[player * (playerCount - 1)..<(player + 1) * (playerCount - 1)]
            return (all - none) / n + own.reduce(0) { $1.isNaN ? $0 : $0 + $1 } / n
        }
    }

    /// The same by means with a player at size k + 1 less means without it at size k, each stratum for itself, so that one
    /// mean of a stratum counts though the other is not there. For what a fitted model leaves, which is near 0 where
    /// nothing is known.
    var shapleyOfResiduals: [Double] {
        (0..<playerCount).map { player in
            var sum = 0.0
            for size in 0...playerCount {
                let place = player * (playerCount + 1) + size
                if let mean = mean(with[place]) { sum += mean }
                if let mean = mean(without[place]) { sum -= mean }
            }
            return sum / Double(playerCount)
        }
    }
}
