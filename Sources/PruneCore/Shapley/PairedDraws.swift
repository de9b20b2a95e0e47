// SPDX-License-Identifier: Apache-2.0
/// Coalitions in pairs: one of random size 1 ... n - 1, each size with the same probability, and its complement.
///
/// Sizes uniform is leverage sampling for Shapley values (Musco and Witter, arXiv 2410.01917). Draw 0 is the two ends.
struct PairedDraws: Sendable {
    let playerCount: Int
    let seed: UInt64

    func coalitions(_ draw: Int) -> [Coalition] {
        let all = Coalition.all(playerCount)
        if draw == 0 || playerCount < 2 { return [all, Coalition(players: playerCount)] }
        var random = RandomSource(seed: seed, stream: UInt64(draw))
        let size = 1 + random.index(below: playerCount - 1)
        let coalition = Coalition(random.permutation(playerCount).prefix(size), of: playerCount)
        return [coalition, coalition.complement]
    }
}

/// Groups of the known worths for a delete-group jackknife: everything but the ends, dealt out in turns.
struct JackknifeGroups {
    static let most = 10
    let count: Int
    private let groupOf: [Int?]

    /// - Parameters:
    ///   - unit: worths that follow one another and stay together, such as the two of a pair.
    ///   - stays: those that belong to no group.
    init(_ known: KnownWorths, unit: Int, stays: (Coalition) -> Bool) {
        var dealt = 0
        var places: [Int?] = []
        for coalition in known.coalitions {
            if stays(coalition) {
                places.append(nil)
            } else {
                places.append(dealt / unit)
                dealt += 1
            }
        }
        let count = min(Self.most, dealt / unit)
        self.count = count
        groupOf = places.map { place in place.map { $0 % max(count, 1) } }
    }

    /// Standard errors of an estimate by leaving out each group in turn; infinity with fewer than eight groups, which say
    /// too little.
    ///
    /// Scaled by the quantile of Student's t with one degree of freedom less than there are groups, and by the share of the
    /// game that is not known (the correction for a finite population): nothing is left to err in a game that is known whole.
    func standardErrors(
        _ known: KnownWorths, players: Int, _ estimate: (KnownWorths) -> [Double]?
    ) -> [Double] {
        var means = RunningMeans(players)
        let least = 8
        guard count >= least else { return means.means.map { _ in .infinity } }
        for group in 0..<count {
            if let values = estimate(known.filtered { groupOf[$0] != group }) { means.add(values) }
        }
        guard means.count >= least else { return means.means.map { _ in .infinity } }
        let coalitions = players < 60 ? Double(1 << players) : .infinity
        let unknown = max(0, 1 - Double(known.count) / coalitions).squareRoot()
        // RunningMeans gives s / sqrt(G); the jackknife wants (G - 1) / sqrt(G) * s.
        return means.standardErrors.map { $0 * Double(means.count - 1) * unknown }
    }
}

/// The exact Shapley values if every coalition is known: no estimate is better.
func exactIfWhole(_ known: KnownWorths) -> Estimate? {
    guard known.isWhole, let table = try? WorthTable(known) else { return nil }
    return Estimate(values: table.shapley, standardErrors: Array(repeating: 0, count: known.playerCount))
}

func isEnd(_ coalition: Coalition) -> Bool {
    coalition.size == 0 || coalition.size == coalition.playerCount
}
