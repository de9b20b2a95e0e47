// SPDX-License-Identifier: Apache-2.0
/// The estimators. The raw values are those of `PRUNE_ESTIMATOR_*`.
public enum EstimatorKind: Int32, Sendable {
    case exact = 1
    case leaveOneOut = 2
    case randomSubnetworks = 3
    case permutation = 4
    case antithetic = 5
    case truncated = 6
    case stratified = 7
    case kernelShap = 8
    case surrogate = 9
    case banzhaf = 10
    case pairDifferences = 11

    /// The one that measured best: docs/shapley.md.
    public static let usual = EstimatorKind.surrogate
}

/// How a game is estimated and when it is done; the fields of `prune_game_options`, with their defaults filled in.
public struct GameOptions: Sendable, Equatable {
    public static let mostPlayers = 2 * KeepMask.mostBlocks

    public let playerCount: Int
    public var estimator: EstimatorKind
    public var seed: UInt64
    /// Coalitions asked for at most; nil = no bound of its own.
    public var budget: Int?
    /// Done when no standard error is above it; 0 = no such bound.
    public var targetError: Double
    /// Done when it is certain which players are the lowest, this many; 0 = no such bound.
    public var leastCount: Int
    public var certainty: Double
    public var keepProbability: Double
    public var subnetworkSize: Int
    public var subnetworksPerRound: Int
    public var truncation: Double

    /// Errors: `.argument`, naming the option that is out of range.
    public init(
        players: Int, estimator: EstimatorKind = .usual, seed: UInt64 = 0, budget: Int = 0, targetError: Double = 0,
        leastCount: Int = 0, certainty: Double = 0, keepProbability: Double = 0, subnetworkSize: Int = 0,
        subnetworksPerRound: Int = 0, truncation: Double = 0
    ) throws(PruneError) {
        func check(_ holds: Bool, _ text: @autoclosure () -> String) throws(PruneError) {
            if !holds { throw PruneError(.argument, text()) }
        }
        try check(
            (1...Self.mostPlayers).contains(players), "n_players is \(players); it must be 1 to \(Self.mostPlayers)")
        try check(
            estimator != .exact || players <= ExactEstimator.mostPlayers,
            "the exact estimator takes at most \(ExactEstimator.mostPlayers) players, and there are \(players); use another"
        )
        try check(budget >= 0, "budget is \(budget); it must be 0 (chosen) or more")
        try check(
            targetError >= 0 && targetError.isFinite, "target_error is \(targetError); it must be 0 (none) or more")
        try check(
            leastCount >= 0 && leastCount < max(players, 1),
            "least is \(leastCount); it must be 0 (none) or less than the \(players) players")
        try check(
            certainty >= 0 && certainty < 1,
            "certainty is \(certainty); it must be between 0 (0.95) and 1, which is never reached")
        try check(
            keepProbability >= 0 && keepProbability < 1,
            "keep_probability is \(keepProbability); it must be between 0 (0.5) and 1")
        try check(
            subnetworkSize >= 0 && subnetworkSize < max(players, 2),
            "subnetwork_size is \(subnetworkSize); it must be 0 (half) or 1 to n_players - 1")
        try check(
            subnetworksPerRound >= 0 && subnetworksPerRound <= 1 << 20,
            "subnetworks_per_round is \(subnetworksPerRound); it must be 0 (chosen) to \(1 << 20)")
        try check(
            truncation >= 0 && truncation < 1, "truncation is \(truncation); it must be at least 0 (0.01) and below 1")
        playerCount = players
        self.estimator = estimator
        self.seed = seed
        self.targetError = targetError
        self.leastCount = leastCount
        self.certainty = certainty == 0 ? 0.95 : certainty
        self.keepProbability = keepProbability == 0 ? 0.5 : keepProbability
        self.subnetworkSize = subnetworkSize == 0 ? max(1, players / 2) : subnetworkSize
        self.subnetworksPerRound =
            subnetworksPerRound == 0 ? (self.subnetworkSize == players - 1 ? players : 10) : subnetworksPerRound
        self.truncation = truncation == 0 ? 0.01 : truncation
        switch (budget, estimator) {
        case (0, .exact), (0, .leaveOneOut), (0, .pairDifferences), (0, .randomSubnetworks): self.budget = nil
        case (0, _): self.budget = 32 * players
        default: self.budget = budget
        }
    }

    func makeEstimator() -> any Estimator {
        switch estimator {
        case .exact: ExactEstimator(playerCount: playerCount)
        case .leaveOneOut: LeaveOneOutEstimator(playerCount: playerCount)
        case .pairDifferences: PairDifferencesEstimator(playerCount: playerCount)
        case .randomSubnetworks: SubnetworkEstimator(playerCount: playerCount, seed: seed, size: subnetworkSize)
        case .permutation: PermutationEstimator(playerCount: playerCount, seed: seed, kind: .plain)
        case .antithetic: PermutationEstimator(playerCount: playerCount, seed: seed, kind: .antithetic)
        case .truncated:
            PermutationEstimator(playerCount: playerCount, seed: seed, kind: .truncated(share: truncation))
        case .stratified: StratifiedEstimator(playerCount: playerCount, seed: seed)
        case .kernelShap: KernelShapEstimator(playerCount: playerCount, seed: seed)
        case .surrogate: SurrogateEstimator(playerCount: playerCount, seed: seed)
        case .banzhaf: BanzhafEstimator(playerCount: playerCount, seed: seed, keepProbability: keepProbability)
        }
    }
}
