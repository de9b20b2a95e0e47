// SPDX-License-Identifier: Apache-2.0
/// Shapley values by weighted least squares (KernelSHAP: Lundberg and Lee 2017) on coalitions drawn by leverage, in pairs and
/// without repetition (Leverage SHAP: arXiv 2410.01917).
///
///     min over phi with sum phi = v(all) - v(none) of  sum over S of w(S) (v(S) - v(none) - sum over i in S of phi_i)^2
///
/// The weights of a size add up to the kernel's, (n - 1) / (s (n - s)), however many coalitions of it are known: so with all
/// coalitions known the solution is exact.
struct KernelShapEstimator: Estimator {
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
        guard let values = solve(known) else {
            throw tooFew("the coalitions told do not tell the players apart; ask for more")
        }
        let groups = JackknifeGroups(known, unit: 2, stays: isEnd)
        return Estimate(values: values, standardErrors: groups.standardErrors(known, players: playerCount, solve))
    }

    private func solve(_ known: KnownWorths) -> [Double]? {
        guard let ends = try? known.ends() else { return nil }
        let n = playerCount
        let total = ends.all - ends.none
        if n == 1 { return [total] }
        var ofSize = Array(repeating: 0, count: n + 1)
        for coalition in known.coalitions { ofSize[coalition.size] += 1 }
        // With x centred by s / n and phi = total / n + u, the constraint becomes sum u = 0, which the ridge of ones below
        // holds without changing the solution: centred rows are orthogonal to the ones.
        var gram = SquareMatrix(n)
        var right = Array(repeating: 0.0, count: n)
        for (coalition, worth) in zip(known.coalitions, known.worths) {
            let size = coalition.size
            guard size > 0, size < n else { continue }
            let share = Double(size) / Double(n)
            let weight = Double(n - 1) / Double(size * (n - size)) / Double(ofSize[size])
            let row = (0..<n).map { (coalition.contains($0) ? 1 : 0) - share }
            let target = worth - ends.none - share * total
            gram.add(weight, row)
            for player in 0..<n { right[player] += weight * row[player] * target }
        }
        gram.add(gram.meanDiagonal, Array(repeating: 1, count: n))
        guard let factor = CholeskyFactor(gram) else { return nil }
        return factor.solve(right).map { $0 + total / Double(n) }
    }
}
