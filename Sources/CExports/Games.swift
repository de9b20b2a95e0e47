// SPDX-License-Identifier: Apache-2.0
public import CPruneCore
import PruneCore

private let gameOptionsSize = MemoryLayout<prune_game_options>.size
private let runOptionsSize = MemoryLayout<prune_game_run_options>.size

/// A count given by the caller; nil for 0. Errors: `.argument` if it is negative.
private func count(_ value: Int64, _ name: String) throws(PruneError) -> Int? {
    guard value >= 0 else { throw PruneError(.argument, "\(name) is \(value); it must be 0 or more") }
    return chosen(value)
}

private func read(_ options: UnsafePointer<prune_game_options>?, players: Int64) throws(PruneError) -> GameOptions {
    let given = try readStruct(options, prune_game_options(), least: gameOptionsSize, "options") ?? prune_game_options()
    let estimator: EstimatorKind = given.estimator == 0 ? .usual : try choice(given.estimator, "options.estimator")
    return try GameOptions(
        players: Int(clamping: players), estimator: estimator, seed: given.seed, budget: chosen(given.budget),
        targetError: chosen(given.target_error), leastCount: chosen(given.least),
        certainty: chosen(given.certainty) ?? GameOptions.usualCertainty,
        keepProbability: chosen(given.keep_probability) ?? GameOptions.usualKeepProbability,
        subnetworkSize: chosen(given.subnetwork_size), subnetworksPerRound: chosen(given.subnetworks_per_round),
        truncation: chosen(given.truncation) ?? GameOptions.usualTruncation)
}

private func shared(_ game: OpaquePointer?) throws(PruneError) -> SharedGame {
    try HandleTable.object(game, SharedGame.self, "game")
}

@c @implementation
public func prune_game_create(
    _ n_players: Int64, _ options: UnsafePointer<prune_game_options>!, _ out_game: UnsafeMutablePointer<OpaquePointer?>!
) -> prune_status {
    out_game?.pointee = nil
    return guarded { () throws(PruneError) in
        let out = try need(out_game, "out_game")
        out.pointee = try HandleTable.add(SharedGame(Game(try read(options, players: n_players))))
    }
}

@c @implementation
public func prune_game_release(_ game: OpaquePointer!) { HandleTable.release(game, SharedGame.self) }

@c @implementation
public func prune_game_ask(
    _ game: OpaquePointer!, _ most: Int, _ out_masks: UnsafeMutablePointer<UInt8>!,
    _ out_count: UnsafeMutablePointer<Int>!
) -> prune_status {
    guarded { () throws(PruneError) in
        let game = try shared(game)
        let outCount = try need(out_count, "out_count")
        let out = try need(out_masks, "out_masks")
        // A count beyond what a buffer can hold is read as negative; both ask for nothing sensible.
        guard most >= 0 else {
            throw PruneError(.argument, "most is \(UInt(bitPattern: most)), more than memory has room for")
        }
        let coalitions = try game.with { (game) throws(PruneError) in
            try game.requireMemory(toAsk: most)
            return game.ask(most)
        }
        for (row, coalition) in coalitions.enumerated() {
            (out + row * coalition.count).update(from: coalition, count: coalition.count)
        }
        outCount.pointee = coalitions.count
    }
}

@c @implementation
public func prune_game_tell(
    _ game: OpaquePointer!, _ masks: UnsafePointer<UInt8>!, _ values: UnsafePointer<Double>!, _ n_masks: Int
) -> prune_status {
    guarded { () throws(PruneError) in
        let game = try shared(game)
        let masks = try need(masks, "masks")
        let worths = try array(try need(values, "values"), n_masks, "values")
        let players = try game.with { (game) throws(PruneError) in game.playerCount }
        let rows = try rows(masks, n_masks, of: players, "masks") { $0 }
        try game.with { (game) throws(PruneError) in try game.tell(rows, worths) }
    }
}

private func cState(_ state: GameState) -> prune_game_state {
    prune_game_state(
        struct_size: UInt32(MemoryLayout<prune_game_state>.size), done: state.isDone ? 1 : 0,
        n_players: Int64(state.playerCount), asked: Int64(state.asked), told: Int64(state.told),
        outstanding: Int64(state.outstanding), efficiency_gap: state.efficiencyGap ?? .nan,
        largest_error: state.largestError ?? .nan, sublayers_computed: Int64(state.sublayersComputed),
        sublayers_naive: Int64(state.sublayersNaive), estimator: state.estimator.rawValue, reserved: 0)
}

@c @implementation
public func prune_game_info(
    _ game: OpaquePointer!, _ out_state: UnsafeMutablePointer<prune_game_state>!
) -> prune_status {
    guarded { () throws(PruneError) in
        let game = try shared(game)
        let state = try game.with { (game) throws(PruneError) in game.state }
        try writeStruct(cState(state), to: out_state, least: MemoryLayout<prune_game_state>.size, "out_state")
    }
}

@c @implementation
public func prune_game_result(
    _ game: OpaquePointer!, _ out_values: UnsafeMutablePointer<Double>!,
    _ out_standard_errors: UnsafeMutablePointer<Double>!, _ capacity: Int,
    _ out_count: UnsafeMutablePointer<Int>!
) -> prune_status {
    guarded { () throws(PruneError) in
        let game = try shared(game)
        let out = try need(out_values, "out_values")
        let players = try game.with { (game) throws(PruneError) in game.playerCount }
        _ = try room(for: players, in: out, capacity, out_count, "out_values")
        let estimate = try game.with { (game) throws(PruneError) in try game.estimate() }
        out.update(from: estimate.values, count: players)
        out_standard_errors?.update(from: estimate.standardErrors, count: players)
    }
}

/// Writes numbers that a game is read for, if they fit.
private func write(
    _ game: OpaquePointer?, to buffer: UnsafeMutablePointer<Double>?, _ capacity: Int,
    _ outCount: UnsafeMutablePointer<Int>?, _ name: String, _ values: (inout Game) throws(PruneError) -> [Double]
) -> prune_status {
    guarded { () throws(PruneError) in
        let values = try shared(game).with { (game) throws(PruneError) in try values(&game) }
        try room(for: values.count, in: buffer, capacity, outCount, name).update(from: values, count: values.count)
    }
}

@c @implementation
public func prune_game_strata(
    _ game: OpaquePointer!, _ out_strata: UnsafeMutablePointer<Double>!, _ capacity: Int,
    _ out_count: UnsafeMutablePointer<Int>!
) -> prune_status {
    write(game, to: out_strata, capacity, out_count, "out_strata") { (game) throws(PruneError) in try game.strata() }
}

@c @implementation
public func prune_game_interactions(
    _ game: OpaquePointer!, _ out_interactions: UnsafeMutablePointer<Double>!, _ capacity: Int,
    _ out_count: UnsafeMutablePointer<Int>!
) -> prune_status {
    write(game, to: out_interactions, capacity, out_count, "out_interactions") { (game) throws(PruneError) in
        try game.interactions()
    }
}

@c @implementation
public func prune_game_banzhaf(
    _ game: OpaquePointer!, _ keep_probability: Double, _ out_values: UnsafeMutablePointer<Double>!, _ capacity: Int,
    _ out_count: UnsafeMutablePointer<Int>!
) -> prune_status {
    write(game, to: out_values, capacity, out_count, "out_values") { (game) throws(PruneError) in
        try game.banzhaf(keepProbability: keep_probability)
    }
}

@c @implementation
public func prune_game_save(
    _ game: OpaquePointer!, _ out_bytes: UnsafeMutablePointer<UInt8>!, _ capacity: Int,
    _ out_count: UnsafeMutablePointer<Int>!
) -> prune_status {
    guarded { () throws(PruneError) in
        let bytes = try shared(game).with { (game) throws(PruneError) in
            try Memory.require(
                GameDocument.size(of: game).times(clamping: 3), for: "the bytes of the game", "end other work first")
            return GameDocument.write(game)
        }
        try room(for: bytes.count, in: out_bytes, capacity, out_count, "out_bytes").update(
            from: bytes, count: bytes.count)
    }
}

@c @implementation
public func prune_game_load(
    _ bytes: UnsafePointer<UInt8>!, _ n_bytes: Int, _ out_game: UnsafeMutablePointer<OpaquePointer?>!
) -> prune_status {
    out_game?.pointee = nil
    return guarded { () throws(PruneError) in
        let out = try need(out_game, "out_game")
        let start = try need(bytes, "bytes")
        out.pointee = try HandleTable.add(SharedGame(try GameDocument.read(try array(start, n_bytes, "bytes"))))
    }
}

/// The caller's callback for batches as a listener; nil if there is none.
private func listener(_ options: prune_game_run_options) -> ((PlayProgress) -> Bool)? {
    guard let callback = options.on_batch else { return nil }
    return { progress in
        var state = cState(progress.state)
        let values = progress.estimate?.values ?? []
        let errors = progress.estimate?.standardErrors ?? []
        return withUnsafePointer(to: &state) { state in
            values.withUnsafeBufferPointer { values in
                errors.withUnsafeBufferPointer { errors in
                    let known = progress.estimate != nil
                    var report = prune_game_progress(
                        struct_size: UInt32(MemoryLayout<prune_game_progress>.size), has_estimate: known ? 1 : 0,
                        state: state, values: known ? values.baseAddress : nil,
                        standard_errors: known ? errors.baseAddress : nil, seconds: progress.seconds)
                    return callback(options.user_data, &report) != 0
                }
            }
        }
    }
}

@c @implementation
public func prune_model_shapley(
    _ model: OpaquePointer!, _ data: OpaquePointer!, _ game: OpaquePointer!,
    _ options: UnsafePointer<prune_game_run_options>!
) -> prune_status {
    guarded { () throws(PruneError) in
        let handle = try HandleTable.object(model, ModelHandle.self, "model")
        let data = try tokens(data, "data")
        let game = try shared(game)
        let given =
            try readStruct(options, prune_game_run_options(), least: runOptionsSize, "options")
            ?? prune_game_run_options()
        let shape = handle.model.shape
        let players: Players
        let numberCount = given.n_sublayer_players
        if let numbers = given.sublayer_players {
            guard numberCount == shape.sublayerCount else {
                throw wrongMaskLength(numberCount, handle, "options.sublayer_players")
            }
            let asked = try array(numbers, numberCount, "options.sublayer_players")
            players = try Players(asked.map { $0 == -1 ? nil : Int($0) })
        } else {
            guard numberCount == 0 else {
                throw PruneError(
                    .argument, "options.sublayer_players is NULL, but its count is \(UInt(bitPattern: numberCount))")
            }
            players = Players(try choice(given.granularity, "options.granularity"), blocks: shape.blockCount)
        }
        let asked = try coalitionOptions(given.coalitions, "options.coalitions", handle)
        let budget = try count(given.sublayer_budget, "options.sublayer_budget")
        let batch = try count(given.batch_coalitions, "options.batch_coalitions")
        let play = PlayOptions(
            measure: asked.measure, cap: asked.isDefaultCap ? usualCap(of: asked.measure, shape) : asked.cap,
            reference: asked.reference, walk: asked.walk, sublayerBudget: budget,
            batchCoalitions: batch ?? PlayOptions.usualBatch)
        try PruneCore.play(
            game, handle.model, data, players, play, listener: listener(given),
            walkListener: asked.progress)
    }
}
