// SPDX-License-Identifier: Apache-2.0
/// The estimator of arXiv 2407.16286: coalitions of one size, and for each player the mean worth of those with it less the
/// mean worth of those without it.
///
/// One stratum D_i(k) of the Shapley value, not the value. The paper draws coalitions anew for every sequence and takes
/// each worth on that sequence alone; its default leaves out every player once per sequence. Worths of a coalition thus
/// differ, and all count.
struct SubnetworkEstimator: Estimator {
    let playerCount: Int
    let seed: UInt64
    /// Players in a coalition.
    let size: Int
    var drawCount: Int? { nil }
    var repeats: Bool { true }

    func wanted(_ draw: Int, _ known: KnownWorths) -> [Coalition] {
        if size == playerCount - 1 { return [Coalition.all(playerCount).removing(draw % playerCount)] }
        var random = random(seed, draw)
        return [Coalition(random.permutation(playerCount).prefix(size), of: playerCount)]
    }

    func estimate(_ known: KnownWorths, draws: Int) throws(PruneError) -> Estimate {
        let contrast = PresenceContrast(known.coalitions, known.worths, players: playerCount)
        for player in 0..<playerCount where contrast.present[player].count == 0 || contrast.absent[player].count == 0 {
            let never = contrast.present[player].count == 0 ? "present" : "absent"
            throw tooFew("player \(player) was never \(never) in \(known.count) coalitions; ask for more")
        }
        return contrast.estimate
    }
}

/// The weighted Banzhaf value by the mean worth with a player less the mean worth without it, over coalitions that every
/// player joins with probability p (maximum sample reuse: Wang and Jia 2023; weighted: Li and Yu 2023).
struct BanzhafEstimator: Estimator {
    let playerCount: Int
    let seed: UInt64
    let keepProbability: Double
    var drawCount: Int? { nil }

    func wanted(_ draw: Int, _ known: KnownWorths) -> [Coalition] {
        // The two ends first: they say how large the efficiency gap is.
        if draw == 0 { return [.all(playerCount), Coalition(players: playerCount)] }
        var random = random(seed, draw)
        return [Coalition((0..<playerCount).filter { _ in random.unit() < keepProbability }, of: playerCount)]
    }

    func estimate(_ known: KnownWorths, draws: Int) throws(PruneError) -> Estimate {
        if known.isWhole {
            let exact = try WorthTable(known).banzhaf(keepProbability: keepProbability)
            return Estimate(values: exact, standardErrors: exact.map { _ in 0 })
        }
        var coalitions: [Coalition] = []
        var worths: [Double] = []
        // A coalition that was drawn twice counts twice, though it was told once.
        for draw in 1..<max(draws, 1) {
            for coalition in wanted(draw, known) {
                guard let worth = known[coalition] else { continue }
                coalitions.append(coalition)
                worths.append(worth)
            }
        }
        let contrast = PresenceContrast(coalitions, worths, players: playerCount)
        for player in 0..<playerCount where contrast.present[player].count == 0 || contrast.absent[player].count == 0 {
            throw tooFew("player \(player) was always or never in the \(coalitions.count) coalitions; ask for more")
        }
        return contrast.estimate
    }
}

/// Worths of coalitions with and without each player.
struct PresenceContrast {
    private(set) var present: [RunningMeans]
    private(set) var absent: [RunningMeans]

    init(_ coalitions: [Coalition], _ worths: [Double], players: Int) {
        present = Array(repeating: RunningMeans(1), count: players)
        absent = present
        for (coalition, worth) in zip(coalitions, worths) {
            for player in 0..<players {
                if coalition.contains(player) { present[player].add([worth]) } else { absent[player].add([worth]) }
            }
        }
    }

    /// Mean with less mean without. Each player has coalitions of both kinds.
    var estimate: Estimate {
        Estimate(
            values: zip(present, absent).map { $0.means[0] - $1.means[0] },
            standardErrors: zip(present, absent).map { with, without in
                let (a, b) = (with.standardErrors[0], without.standardErrors[0])
                return (a * a + b * b).squareRoot()
            })
    }
}
