// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// Which player each sublayer of a model belongs to.
public struct Players: Sendable {
    public let count: Int
    /// For each sublayer its player, or nil if it is kept in every coalition.
    let playerOfSublayer: [Int?]

    /// The units of a granularity; sublayers outside it are always kept.
    public init(_ granularity: Granularity, blocks: Int) {
        count = granularity.unitCount(blocks: blocks)
        var players = [Int?](repeating: nil, count: 2 * blocks)
        for unit in 0..<count {
            for sublayer in granularity.sublayers(ofUnit: unit) { players[sublayer] = unit }
        }
        playerOfSublayer = players
    }

    /// Any grouping: a player 0, 1, ... per sublayer, or nil = always kept.
    ///
    /// Errors: `.argument` if a number is not a player, or a player between 0 and the highest has no sublayer.
    public init(_ players: [Int?]) throws(PruneError) {
        for (sublayer, player) in players.enumerated() {
            guard let player, !(0..<2 * KeepMask.mostBlocks).contains(player) else { continue }
            throw PruneError(
                .argument,
                "player_of_sublayer[\(sublayer)] (\(sublayerName(sublayer))) is \(player), which is not a player")
        }
        let present = Set(players.compactMap { $0 })
        guard let last = present.max() else { throw PruneError(.argument, "player_of_sublayer names no player") }
        if let missing = (0..<last).first(where: { !present.contains($0) }) {
            throw PruneError(
                .argument, "player_of_sublayer names player \(last), but player \(missing) has no sublayer")
        }
        count = last + 1
        playerOfSublayer = players
    }

    /// The mask that keeps a coalition, one byte per player.
    func mask(_ coalition: [UInt8]) throws(PruneError) -> KeepMask {
        try KeepMask(bytes: playerOfSublayer.map { player in player.map { coalition[$0] } ?? 1 })
    }
}

/// A game that a host holds: it may be read while a model plays it.
public typealias SharedGame = Shared<Game>

/// How a model plays a game.
public struct PlayOptions: Sendable {
    public var measure: Measure
    /// Cap of the measure; nil = none.
    public var cap: Double?
    public var reference: KeepMask?
    public var walk: WalkOptions
    /// Sublayers applied to a batch of tokens at most; nil = no bound.
    public var sublayerBudget: Int?
    public var batchCoalitions: Int

    /// Coalitions evaluated together if the caller does not say: enough for their masks to share prefixes, few enough for the
    /// estimate to be seen settling.
    public static let usualBatch = 64

    public init(
        measure: Measure = .loss, cap: Double? = nil, reference: KeepMask? = nil, walk: WalkOptions = WalkOptions(),
        sublayerBudget: Int? = nil, batchCoalitions: Int = usualBatch
    ) {
        self.measure = measure
        self.cap = cap
        self.reference = reference
        self.walk = walk
        self.sublayerBudget = sublayerBudget
        self.batchCoalitions = batchCoalitions
    }
}

/// How a game of a model stands, told after every batch.
public struct PlayProgress: Sendable {
    public let state: GameState
    public let estimate: Estimate?
    public let seconds: Double
}

/// Plays a game on a model until it is done or its sublayers are spent: asks, evaluates, tells. The worth of a coalition is
/// minus its measure.
///
/// - Parameters:
///   - listener: told after every batch; returns true to stop. The game is not locked meanwhile.
///   - walkListener: told while a batch is evaluated; returns true to stop.
/// Errors: `.argument` if the players do not fit model or game; `.cancelled`; those of `damages`. The game is whole after
/// every one of them, and what was asked for and not told is asked for again.
public func play(
    _ shared: SharedGame, _ model: any Model, _ data: TokenData, _ players: Players, _ options: PlayOptions,
    listener: ((PlayProgress) -> Bool)? = nil, walkListener: ProgressMeter.Listener? = nil
) throws(PruneError) {
    let begin = ProgressMeter.now()
    let settings = try shared.with { (game) throws(PruneError) in
        game.askAgain()
        return game.options
    }
    guard settings.playerCount == players.count else {
        throw PruneError(
            .argument, "the game has \(settings.playerCount) players, but the options name \(players.count)")
    }
    guard players.playerOfSublayer.count == model.shape.sublayerCount else {
        throw PruneError(
            .argument,
            "player_of_sublayer has \(players.playerOfSublayer.count) entries; this model has \(model.shape.sublayerCount) sublayers"
        )
    }
    while let batch = try nextBatch(shared, model, data, players, options, settings, walkListener) {
        let result: (values: [Double], report: WalkReport)
        do throws(PruneError) {
            result = try damages(
                model, batch.data, under: batch.masks, options.measure, cap: options.cap, reference: options.reference,
                batch.walk, progress: walkListener)
        } catch {
            try shared.with { (game) throws(PruneError) in game.askAgain() }
            throw error
        }
        let progress = try shared.with { (game) throws(PruneError) in
            try game.tell(batch.coalitions, result.values.map { -$0 })
            game.sublayersComputed += result.report.sublayersComputed
            game.sublayersNaive += result.report.sublayersNaive
            // The estimate is made for whoever listens only.
            return listener == nil
                ? nil
                : PlayProgress(state: game.state, estimate: try? game.estimate(), seconds: ProgressMeter.now() - begin)
        }
        if let listener, let progress, listener(progress) {
            throw PruneError(.cancelled, "cancelled by the progress callback after \(progress.state.told) coalitions")
        }
    }
}

/// Coalitions to evaluate together, and the data to do it on.
private struct CoalitionBatch {
    let coalitions: [[UInt8]]
    let masks: [KeepMask]
    let data: TokenData
    /// Settled, so that the walk takes what was planned.
    let walk: WalkOptions
}

/// The next batch; nil if the game is done or what is left of its budget does not do for one more coalition.
private func nextBatch(
    _ shared: SharedGame, _ model: any Model, _ data: TokenData, _ players: Players, _ options: PlayOptions,
    _ settings: GameOptions, _ listener: ProgressMeter.Listener?
) throws(PruneError) -> CoalitionBatch? {
    var most = options.batchCoalitions
    var own = data
    if settings.estimator == .randomSubnetworks {
        // A round of coalitions belongs to one sequence of the data; without a budget the game ends after the last one.
        let told = try shared.with { (game) throws(PruneError) in
            game.setBudget(settings.subnetworksPerRound * data.partCount)
            return game.toldCount
        }
        let round = told / settings.subnetworksPerRound
        most = min(most, settings.subnetworksPerRound - told % settings.subnetworksPerRound)
        own = try data.part(round % data.partCount)
    }
    while most > 0 {
        let wanted = most
        let coalitions = try shared.with { (game) throws(PruneError) in
            try game.requireMemory(toAsk: wanted)
            return game.ask(wanted)
        }
        if coalitions.isEmpty { return nil }
        var masks: [KeepMask] = []
        for coalition in coalitions { masks.append(model.shape.present(in: try players.mask(coalition))) }
        guard let budget = options.sublayerBudget else {
            return CoalitionBatch(coalitions: coalitions, masks: masks, data: own, walk: options.walk)
        }
        let walkOptions = options.walk.settled(for: model)
        let spent = try shared.with { (game) throws(PruneError) in game.sublayersComputed }
        let cost: Int
        do throws(PruneError) {
            cost = try walk(
                DryRun(model.shape), own.batches(of: options.walk.batchTokens), under: masks,
                reference: options.measure.comparesLogits
                    ? options.reference ?? model.shape.present : nil,
                walkOptions, stage: "plan", progress: listener
            ) { (_) throws(PruneError) in }.sublayersComputed
        } catch {
            try shared.with { (game) throws(PruneError) in game.askAgain() }
            throw error
        }
        if spent + cost <= budget {
            return CoalitionBatch(coalitions: coalitions, masks: masks, data: own, walk: walkOptions)
        }
        try shared.with { (game) throws(PruneError) in game.askAgain() }
        most = coalitions.count / 2
    }
    return nil
}

/// The cap of a measure in games if the caller sets none: ln(vocabulary) for the loss, none for the others.
///
/// A coalition whose loss is above that of guessing has collapsed; how far says nothing about pruning, and would rule the
/// values otherwise.
public func usualCap(of measure: Measure, _ shape: ModelShape) -> Double? {
    measure == .loss && shape.vocabularySize > 0 ? log(Double(shape.vocabularySize)) : nil
}
