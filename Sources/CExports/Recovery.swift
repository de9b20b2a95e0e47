// SPDX-License-Identifier: Apache-2.0
public import CPruneCore
import PruneCore

private let recoverOptionsSize = MemoryLayout<prune_recover_options>.size

/// The meaning of recover options. What a call has no use for is checked all the same.
struct RecoverOptions {
    var adapters = AdapterOptions()
    /// nil = the closed form alone.
    var training: TrainingOptions?
    var heldOut: TokenData?
    var initial: AdapterSet?
    var given = prune_recover_options()
}

/// Options of a caller; defaults for NULL. Errors: `.argument` naming the field; `.handle`.
///
/// - Parameter width: hidden size of the model, which bounds the default rank.
func recoverOptions(
    _ options: UnsafePointer<prune_recover_options>?, width: Int
) throws(PruneError) -> RecoverOptions {
    var asked = RecoverOptions()
    asked.given =
        try readStruct(options, prune_recover_options(), least: recoverOptionsSize, "options")
        ?? prune_recover_options()
    let given = asked.given
    try checkReserved(given.reserved, "options")
    asked.adapters = try adapterOptions(given, width: width)
    asked.heldOut =
        given.held_out == nil ? nil : try tokens(given.held_out, "options.held_out")
    asked.initial =
        given.initial == nil
        ? nil : try HandleTable.object(given.initial, AdaptersHandle.self, "options.initial").current
    let objective: RecoveryObjective = try choice(given.objective, "options.objective")
    let training = try trainingOptions(given, objective)
    asked.training = objective == .closedForm ? nil : training
    return asked
}

private func adapterOptions(_ given: prune_recover_options, width: Int) throws(PruneError) -> AdapterOptions {
    var options = AdapterOptions()
    options.kind = given.kind == PRUNE_ADAPTER_DEFAULT ? .lowRank : try choice(given.kind, "options.kind")
    let input: AdapterInput = try choice(given.input, "options.input")
    options.normsInput = input == .normed
    options.stream = try choice(given.stream, "options.stream")
    options.blockSlot = try choice(given.block_slot, "options.block_slot")
    // Ranges are checked by those who use them; here is what only a caller in C can say.
    switch given.rank {
    case 0: options.rank = options.rank.map { min($0, width) }
    case -1: options.rank = nil
    default: options.rank = Int(clamping: given.rank)
    }
    options.ridge = chosen(given.ridge)
    options.heldOutShare = chosen(given.held_out_share) ?? options.heldOutShare
    options.seed = given.seed
    options.batchTokens = try batchTokens(given.batch_tokens)
    options.memoryBudget = chosen(given.memory_budget)
    return options
}

private func trainingOptions(
    _ given: prune_recover_options, _ objective: RecoveryObjective
) throws(PruneError) -> TrainingOptions {
    var options = TrainingOptions()
    options.objective = objective
    options.start = try choice(given.start, "options.start")
    options.steps = chosen(given.steps) ?? options.steps
    options.stepTokens = chosen(given.step_tokens) ?? options.stepTokens
    options.learningRate = chosen(given.learning_rate)
    options.weightDecay = given.weight_decay
    options.warmupSteps = chosen(given.warmup_steps)
    switch given.clip_norm {
    case 0: break
    case -1: options.clipNorm = nil
    default: options.clipNorm = given.clip_norm
    }
    options.evaluateEvery = chosen(given.evaluate_every)
    options.patience = chosen(given.patience)
    options.checkpoint = try optionalText(given.checkpoint, "options.checkpoint")
    options.checkpointEvery = chosen(given.checkpoint_every)
    return options
}

/// The caller's callback for training steps; nil if there is none.
func stepListener(
    _ callback: prune_training_progress_fn?, _ userData: UnsafeMutableRawPointer?
) -> ((TrainingProgress) -> Bool)? {
    guard let callback else { return nil }
    return { progress in
        var report = prune_training_progress(
            struct_size: UInt32(MemoryLayout<prune_training_progress>.size), reserved: 0, step: Int64(progress.step),
            steps: Int64(progress.steps), loss: progress.loss, held_out_loss: progress.heldOutLoss,
            best_loss: progress.bestLoss, learning_rate: progress.learningRate,
            tokens_per_second: progress.tokensPerSecond, seconds: progress.seconds)
        return callback(userData, &report) != 0
    }
}

@c @implementation
public func prune_model_recover(
    _ model: OpaquePointer!, _ data: OpaquePointer!, _ keep: UnsafePointer<UInt8>!, _ n_keep: Int,
    _ options: UnsafePointer<prune_recover_options>!, _ out_adapters: UnsafeMutablePointer<OpaquePointer?>!
) -> prune_status {
    out_adapters?.pointee = nil
    return guarded { () throws(PruneError) in
        let handle = try HandleTable.object(model, ModelHandle.self, "model")
        let data = try tokens(data, "data")
        let out = try need(out_adapters, "out_adapters")
        let asked = try recoverOptions(options, width: handle.model.shape.hiddenSize)
        let made = try recover(
            handle.model, data, heldOut: asked.heldOut, under: try mask(keep, n_keep, or: handle), asked.adapters,
            initial: asked.initial, training: asked.training,
            progress: listener(asked.given.progress, asked.given.user_data),
            step: stepListener(asked.given.on_step, asked.given.user_data))
        out.pointee = try HandleTable.add(AdaptersHandle(made))
    }
}

@c @implementation
public func prune_model_attach(
    _ model: OpaquePointer!, _ adapters: OpaquePointer!, _ out_model: UnsafeMutablePointer<OpaquePointer?>!
) -> prune_status {
    out_model?.pointee = nil
    return guarded { () throws(PruneError) in
        let handle = try HandleTable.object(model, ModelHandle.self, "model")
        let set = try HandleTable.object(adapters, AdaptersHandle.self, "adapters").current
        let out = try need(out_model, "out_model")
        out.pointee = try HandleTable.add(ModelHandle(try RecoveredModel(handle.model, set)))
    }
}

@c @implementation
public func prune_model_adapters(
    _ model: OpaquePointer!, _ keep: UnsafePointer<UInt8>!, _ n_keep: Int,
    _ out_adapters: UnsafeMutablePointer<OpaquePointer?>!
) -> prune_status {
    out_adapters?.pointee = nil
    return guarded { () throws(PruneError) in
        let handle = try HandleTable.object(model, ModelHandle.self, "model")
        let out = try need(out_adapters, "out_adapters")
        let mask = try mask(keep, n_keep, or: handle)
        out.pointee = try HandleTable.add(AdaptersHandle(try adapters(of: handle.model, keptBy: mask)))
    }
}
