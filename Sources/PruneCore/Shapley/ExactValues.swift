// SPDX-License-Identifier: Apache-2.0
/// The worths of all 2^n coalitions, indexed by the bits of their members.
struct WorthTable {
    let playerCount: Int
    let worths: [Double]

    /// Errors: `.data` if a worth is missing.
    init(_ known: KnownWorths) throws(PruneError) {
        guard known.isWhole else {
            throw tooFew(
                "\(known.count) of \(1 << min(known.playerCount, 62)) coalitions were told, and all are needed")
        }
        var worths = Array(repeating: 0.0, count: 1 << known.playerCount)
        for (coalition, worth) in zip(known.coalitions, known.worths) { worths[coalition.bits] = worth }
        playerCount = known.playerCount
        self.worths = worths
    }

    init(playerCount: Int, worths: [Double]) {
        self.playerCount = playerCount
        self.worths = worths
    }

    /// Shapley values: the mean over all orders of what a player adds to those before it.
    ///
    ///     phi_i = sum over S without i of |S|! (n - |S| - 1)! / n! * (v(S + i) - v(S))
    var shapley: [Double] {
        let n = playerCount
        // |S|! (n - |S| - 1)! / n! = 1 / (n * C(n - 1, |S|))
        let weights = (0..<n).map { 1 / (Double(n) * binomial(n - 1, $0)) }
        return marginals { size in weights[size] }
    }

    /// Weighted Banzhaf values: what a player adds to a coalition that every other one joins with probability p.
    func banzhaf(keepProbability p: Double) -> [Double] {
        let n = playerCount
        let powers = (0..<n).map { size in power(p, size) * power(1 - p, n - 1 - size) }
        return marginals { size in powers[size] }
    }

    private func marginals(weight: (Int) -> Double) -> [Double] {
        (0..<playerCount).map { player in
            let bit = 1 << player
            var sum = 0.0
            for coalition in worths.indices where coalition & bit == 0 {
                sum += weight(coalition.nonzeroBitCount) * (worths[coalition | bit] - worths[coalition])
            }
            return sum
        }
    }

    /// Shapley interaction index of every pair (Grabisch and Roubens 1999), n x n, 0 on the diagonal:
    ///
    ///     I_ij = sum over T without i, j of |T|! (n - |T| - 2)! / (n - 1)! * (v(T + ij) - v(T + i) - v(T + j) + v(T))
    var interactions: [Double] {
        let n = playerCount
        var result = Array(repeating: 0.0, count: n * n)
        guard n >= 2 else { return result }
        let weights = (0..<n - 1).map { 1 / (Double(n - 1) * binomial(n - 2, $0)) }
        for i in 0..<n {
            for j in 0..<i {
                let (a, b) = (1 << i, 1 << j)
                var sum = 0.0
                for rest in worths.indices where rest & (a | b) == 0 {
                    let second = worths[rest | a | b] - worths[rest | a] - worths[rest | b] + worths[rest]
                    sum += weights[rest.nonzeroBitCount] * second
                }
                result[i * n + j] = sum
                result[j * n + i] = sum
            }
        }
        return result
    }
}

/// n over k, as far as a double holds it.
func binomial(_ n: Int, _ k: Int) -> Double {
    guard k >= 0, k <= n else { return 0 }
    return (0..<min(k, n - k)).reduce(1.0) { $0 * Double(n - $1) / Double($1 + 1) }
}

/// base^exponent for a whole exponent >= 0.
private func power(_ base: Double, _ exponent: Int) -> Double {
    (0..<exponent).reduce(1.0) { product, _ in product * base }
}

/// Asks for every coalition.
struct ExactEstimator: Estimator {
    /// Players at most: a million coalitions.
    static let mostPlayers = 20

    let playerCount: Int
    var drawCount: Int? { 1 << playerCount }

    /// The full coalition first, then those with fewer and fewer of the last players: neighbours share long prefixes.
    func wanted(_ draw: Int, _ known: KnownWorths) -> [Coalition] {
        // Bit-reversed, so that the first player's bit changes last.
        let code = (1 << playerCount) - 1 - draw
        return [Coalition((0..<playerCount).filter { code >> (playerCount - 1 - $0) & 1 == 1 }, of: playerCount)]
    }

    func estimate(_ known: KnownWorths, draws: Int) throws(PruneError) -> Estimate {
        Estimate(values: try WorthTable(known).shapley, standardErrors: Array(repeating: 0, count: playerCount))
    }
}
