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
/// - Parameter width: hidden size of the model, which no rank exceeds; nil = not known here.
func recoverOptions(
    _ options: UnsafePointer<prune_recover_options>?, width: Int?
) throws(PruneError) -> RecoverOptions {
    var asked = RecoverOptions()
    asked.given = try readStruct(options, prune_recover_options(), least: recoverOptionsSize, "options")
        ?? prune_recover_options()
    let given = asked.given
    try checkReserved(given.reserved, "options")
    asked.adapters = try adapterOptions(given, width: width)
    asked.heldOut = given.held_out == nil ? nil : try HandleTable.object(given.held_out, TokenData.self, "options.held_out")
    asked.initial = given.initial == nil
        ? nil : try HandleTable.object(given.initial, AdaptersHandle.self, "options.initial").current
    let objective: RecoveryObjective = try choice(given.objective, "options.objective")
    let training = try trainingOptions(given, objective)
    asked.training = objective == .closedForm ? nil : training
    guard asked.initial == nil || asked.training != nil else {
        throw PruneError(
            .argument, "options.initial is given, but options.objective is the closed form, which starts from nothing")
    }
    return asked
}

private func adapterOptions(_ given: prune_recover_options, width: Int?) throws(PruneError) -> AdapterOptions {
    var options = AdapterOptions()
    options.kind = given.kind == PRUNE_ADAPTER_DEFAULT ? .lowRank : try choice(given.kind, "options.kind")
    let input: AdapterInput = try choice(given.input, "options.input")
    options.normsInput = input == .normed
    options.stream = try choice(given.stream, "options.stream")
    options.blockSlot = try choice(given.block_slot, "options.block_slot")
    options.rank = try rank(given.rank, width: width)
    guard given.ridge.isFinite, given.ridge >= 0 else {
        throw PruneError(.argument, "options.ridge is \(given.ridge); it must be 0 (chosen) or a positive number")
    }
    options.ridge = given.ridge == 0 ? nil : given.ridge
    guard given.held_out_share >= 0, given.held_out_share < 1 else {
        throw PruneError(
            .argument, "options.held_out_share is \(given.held_out_share); it must be 0 (0.1) or a share below 1")
    }
    if given.held_out_share > 0 { options.heldOutShare = given.held_out_share }
    options.seed = given.seed
    options.batchTokens = try batchTokens(given.batch_tokens)
    options.memoryBudget = try optionalCount(given.memory_budget, "memory_budget")
    return options
}

/// The rank that a caller asks for; nil = to be chosen. Errors: `.argument`.
private func rank(_ value: Int64, width: Int?) throws(PruneError) -> Int? {
    let usual = AdapterOptions().rank
    switch value {
    case 0: return usual.map { min($0, width ?? $0) }
    case -1: return nil
    default:
        guard value >= 1, value <= Int64(width ?? Int.max) else {
            let most = width.map { " up to the hidden size, \($0)" } ?? ""
            throw PruneError(
                .argument, "options.rank is \(value); it must be 0 (\(usual ?? 0)), -1 (chosen), or a rank\(most)")
        }
        return Int(value)
    }
}

private func trainingOptions(
    _ given: prune_recover_options, _ objective: RecoveryObjective
) throws(PruneError) -> TrainingOptions {
    var options = TrainingOptions()
    options.objective = objective
    options.start = try choice(given.start, "options.start")
    options.steps = try optionalCount(given.steps, "steps") ?? options.steps
    options.stepTokens = try optionalCount(given.step_tokens, "step_tokens") ?? options.stepTokens
    options.learningRate = given.learning_rate == 0 ? nil : try positive(given.learning_rate, "learning_rate")
    options.weightDecay = given.weight_decay == 0 ? 0 : try positive(given.weight_decay, "weight_decay")
    options.warmupSteps = try optionalCount(given.warmup_steps, "warmup_steps")
    switch given.clip_norm {
    case 0: break
    case -1: options.clipNorm = 0
    default:
        guard given.clip_norm > 0, given.clip_norm.isFinite else {
            throw PruneError(
                .argument, "options.clip_norm is \(given.clip_norm); it must be 0 (1), -1 (no bound), or a positive number")
        }
        options.clipNorm = given.clip_norm
    }
    options.evaluateEvery = try optionalCount(given.evaluate_every, "evaluate_every")
    options.patience = try optionalCount(given.patience, "patience")
    options.checkpoint = given.checkpoint.map { String(cString: $0) }
    options.checkpointEvery = try optionalCount(given.checkpoint_every, "checkpoint_every")
    return options
}

/// A count of a caller, 0 = the default. So large a count that sums of a few would overflow counts as the largest one.
private func optionalCount(_ value: Int64, _ name: String) throws(PruneError) -> Int? {
    guard value >= 0 else { throw PruneError(.argument, "options.\(name) is \(value); it must be 0 (the default) or more") }
    return value == 0 ? nil : Int(clamping: min(value, 1 << 48))
}

private func positive(_ value: Double, _ name: String) throws(PruneError) -> Double {
    guard value > 0, value.isFinite else {
        throw PruneError(.argument, "options.\(name) is \(value); it must be 0 (the default) or a positive number")
    }
    return value
}

/// The model that adapters are made for or attached to. Errors: `.argument` if it has adapters itself.
func fullModel(_ model: OpaquePointer?) throws(PruneError) -> ModelHandle {
    let handle = try HandleTable.object(model, ModelHandle.self, "model")
    guard !(handle.model is RecoveredModel) else {
        throw PruneError(
            .argument, "model has adapters attached; adapters are for the full model, so give the one it was made from")
    }
    return handle
}

/// The caller's callback for training steps; nil if there is none.
private func stepListener(_ options: prune_recover_options) -> ((TrainingProgress) -> Bool)? {
    guard let callback = options.on_step else { return nil }
    return { progress in
        var report = prune_training_progress(
            struct_size: UInt32(MemoryLayout<prune_training_progress>.size), reserved: 0, step: Int64(progress.step),
            steps: Int64(progress.steps), loss: progress.loss, held_out_loss: progress.heldOutLoss,
            best_loss: progress.bestLoss, learning_rate: progress.learningRate,
            tokens_per_second: progress.tokensPerSecond, seconds: progress.seconds)
        return callback(options.user_data, &report) != 0
    }
}

@c @implementation
public func prune_model_recover(
    _ model: OpaquePointer!, _ data: OpaquePointer!, _ keep: UnsafePointer<UInt8>!, _ keep_count: Int,
    _ options: UnsafePointer<prune_recover_options>!, _ out_adapters: UnsafeMutablePointer<OpaquePointer?>!
) -> prune_status {
    out_adapters?.pointee = nil
    return guarded { () throws(PruneError) in
        let handle = try fullModel(model)
        let data = try HandleTable.object(data, TokenData.self, "data")
        let out = try need(out_adapters, "out_adapters")
        let asked = try recoverOptions(options, width: handle.model.shape.hiddenSize)
        let made = try recover(
            handle.model, data, heldOut: asked.heldOut, under: try mask(keep, keep_count, or: handle), asked.adapters,
            initial: asked.initial, training: asked.training,
            progress: listener(asked.given.progress, asked.given.user_data), step: stepListener(asked.given))
        out.pointee = HandleTable.add(AdaptersHandle(made))
    }
}

@c @implementation
public func prune_model_attach(
    _ model: OpaquePointer!, _ adapters: OpaquePointer!, _ out_model: UnsafeMutablePointer<OpaquePointer?>!
) -> prune_status {
    out_model?.pointee = nil
    return guarded { () throws(PruneError) in
        let handle = try fullModel(model)
        let set = try HandleTable.object(adapters, AdaptersHandle.self, "adapters").current
        let out = try need(out_model, "out_model")
        out.pointee = HandleTable.add(ModelHandle(try RecoveredModel(handle.model, set)))
    }
}
