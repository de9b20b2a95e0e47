// SPDX-License-Identifier: Apache-2.0
/// What the full coalition loses without a player: v(all) - v(all but i). Exact after n + 1 worths; no Shapley value.
struct LeaveOneOutEstimator: Estimator {
    let playerCount: Int
    var drawCount: Int? { playerCount + 1 }

    func wanted(_ draw: Int, _ known: KnownWorths) -> [Coalition] {
        let all = Coalition.all(playerCount)
        return [draw == 0 ? all : all.removing(draw - 1)]
    }

    func estimate(_ known: KnownWorths, draws: Int) throws(PruneError) -> Estimate {
        let all = Coalition.all(playerCount)
        var values: [Double] = []
        for player in 0..<playerCount {
            guard let whole = known[all], let without = known[all.removing(player)] else {
                throw tooFew("the full coalition, or the one without player \(player), was not told")
            }
            values.append(whole - without)
        }
        return Estimate(values: values, standardErrors: Array(repeating: 0, count: playerCount))
    }
}

/// Leave-one-out, and the second difference of every pair at the full coalition:
/// v(all) - v(all but i) - v(all but j) + v(all but both). Negative: the damage of removing both is more than the sum.
struct PairDifferencesEstimator: Estimator {
    let playerCount: Int
    private var single: LeaveOneOutEstimator { LeaveOneOutEstimator(playerCount: playerCount) }

    init(playerCount: Int) { self.playerCount = playerCount }

    /// One draw for leave-one-out coalitions each, then one per first player of the pairs.
    var drawCount: Int? { playerCount + 1 + max(0, playerCount - 1) }

    func wanted(_ draw: Int, _ known: KnownWorths) -> [Coalition] {
        if draw <= playerCount { return single.wanted(draw, known) }
        let first = draw - playerCount - 1
        let without = Coalition.all(playerCount).removing(first)
        return (first + 1..<playerCount).map(without.removing)
    }

    func estimate(_ known: KnownWorths, draws: Int) throws(PruneError) -> Estimate {
        try single.estimate(known, draws: draws)
    }

    /// n x n, symmetric, 0 on the diagonal. Errors: `.data` if a coalition was not told.
    func interactions(_ known: KnownWorths) throws(PruneError) -> [Double] {
        let damage = try estimate(known, draws: 0).values
        let all = Coalition.all(playerCount)
        var result = Array(repeating: 0.0, count: playerCount * playerCount)
        for i in 0..<playerCount {
            for j in 0..<i {
                guard let whole = known[all], let without = known[all.removing(i).removing(j)] else {
                    throw tooFew("the coalition without players \(j) and \(i) was not told")
                }
                let value = without - whole + damage[i] + damage[j]
                result[i * playerCount + j] = value
                result[j * playerCount + i] = value
            }
        }
        return result
    }
}
