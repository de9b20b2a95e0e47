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

/// How a game is estimated and when it is done.
public struct GameOptions: Sendable, Equatable {
    public static let mostPlayers = 2 * KeepMask.mostBlocks
    public static let usualCertainty = 0.95
    public static let usualKeepProbability = 0.5
    public static let usualTruncation = 0.01

    public let playerCount: Int
    public var estimator: EstimatorKind
    public var seed: UInt64
    /// Coalitions asked for at most; nil = no bound of its own.
    public var budget: Int?
    /// Done when no standard error is above it; nil = no such bound.
    public var targetError: Double?
    /// Done when it is certain which players are the lowest, this many; nil = no such bound.
    public var leastCount: Int?
    public var certainty: Double
    /// Of `.banzhaf`: the probability that a player is in a coalition.
    public var keepProbability: Double
    /// Of `.randomSubnetworks`: players of a subnetwork, and subnetworks drawn at a time.
    public var subnetworkSize: Int
    public var subnetworksPerRound: Int
    /// Of `.truncated`: a permutation ends where its worth is as near to that of all players, as a share.
    public var truncation: Double

    /// - Parameters:
    ///   - budget: nil = what the estimator needs where that is known, else 32 for each player.
    ///   - subnetworkSize: nil = half of the players.
    ///   - subnetworksPerRound: nil = 10, or each of those that lack one player.
    /// Errors: `.argument`, naming the option that is out of range.
    public init(
        players: Int, estimator: EstimatorKind = .usual, seed: UInt64 = 0, budget: Int? = nil,
        targetError: Double? = nil, leastCount: Int? = nil, certainty: Double = usualCertainty,
        keepProbability: Double = usualKeepProbability, subnetworkSize: Int? = nil, subnetworksPerRound: Int? = nil,
        truncation: Double = usualTruncation
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
        try check(budget ?? 1 >= 1, "budget is \(budget ?? 0); it must be at least 1")
        if let targetError {
            try check(
                targetError > 0 && targetError.isFinite, "target_error is \(targetError); it must be finite and above 0"
            )
        }
        if let leastCount {
            try check(
                leastCount >= 1 && leastCount < players,
                "least is \(leastCount); it must be at least 1, and less than the \(players) players")
        }
        try check(certainty > 0 && certainty < 1, "certainty is \(certainty); it must be above 0 and below 1")
        try check(
            keepProbability > 0 && keepProbability < 1,
            "keep_probability is \(keepProbability); it must be above 0 and below 1")
        let size = subnetworkSize ?? max(1, players / 2)
        try check(
            size >= 1 && size < max(players, 2), "subnetwork_size is \(size); it must be 1 to n_players - 1")
        let perRound = subnetworksPerRound ?? (size == players - 1 ? players : 10)
        try check(
            (1...1 << 20).contains(perRound), "subnetworks_per_round is \(perRound); it must be 1 to \(1 << 20)")
        try check(
            truncation >= 0 && truncation < 1, "truncation is \(truncation); it must be below 1, and not negative")
        playerCount = players
        self.estimator = estimator
        self.seed = seed
        self.targetError = targetError
        self.leastCount = leastCount
        self.certainty = certainty
        self.keepProbability = keepProbability
        self.subnetworkSize = size
        self.subnetworksPerRound = perRound
        self.truncation = truncation
        self.budget =
            switch estimator {
            case .exact, .leaveOneOut, .pairDifferences, .randomSubnetworks: budget
            default: budget ?? 32 * players
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
