// SPDX-License-Identifier: Apache-2.0
public import CPruneCore
import PruneCore

private let healingOptionsSize = MemoryLayout<prune_healing_options>.size

/// What a `prune_healing` stands for.
private final class HealingHandle: Sendable {
    let report: HealingReport

    init(_ report: HealingReport) { self.report = report }
}

/// Options of a caller. Errors: `.argument` naming the field; `.handle`.
private func healingOptions(_ given: prune_healing_options) throws(PruneError) -> HealingOptions {
    var options = HealingOptions()
    if let train = try optionalText(given.train, "options.train") { options.train = train }
    // 0 is the closed form of adapters, which heals nothing here: the default.
    options.objective = given.objective == 0 ? options.objective : try choice(given.objective, "options.objective")
    options.schedule = try choice(given.schedule, "options.schedule")
    guard (0...1).contains(given.untie_head) else {
        throw PruneError(.argument, "options.untie_head is \(given.untie_head); it must be 0 or 1")
    }
    options.untiesHead = given.untie_head == 1
    // Ranges are checked by those who use them; here is what only a caller in C can say.
    options.steps = chosen(given.steps) ?? options.steps
    options.batchSequences = chosen(given.batch_sequences) ?? options.batchSequences
    options.learningRate = chosen(given.learning_rate) ?? options.learningRate
    options.weightDecay = given.weight_decay
    options.warmupSteps = given.warmup_steps == -1 ? 0 : chosen(given.warmup_steps)
    switch given.clip_norm {
    case 0: break
    case -1: options.clipNorm = nil
    default: options.clipNorm = given.clip_norm
    }
    options.evaluateEvery = chosen(given.evaluate_every)
    options.patience = chosen(given.patience)
    options.heldOutShare = chosen(given.held_out_share) ?? options.heldOutShare
    options.seed = given.seed
    options.batchTokens = try batchTokens(given.batch_tokens)
    options.checkpoint = try optionalText(given.checkpoint, "options.checkpoint")
    options.checkpointEvery = chosen(given.checkpoint_every)
    return options
}

@c @implementation
public func prune_model_heal(
    _ model: OpaquePointer!, _ data: OpaquePointer!, _ keep: UnsafePointer<UInt8>!, _ n_keep: Int,
    _ options: UnsafePointer<prune_healing_options>!, _ out_model: UnsafeMutablePointer<OpaquePointer?>!,
    _ out_healing: UnsafeMutablePointer<OpaquePointer?>!
) -> prune_status {
    out_model?.pointee = nil
    out_healing?.pointee = nil
    return guarded { () throws(PruneError) in
        let handle = try HandleTable.object(model, ModelHandle.self, "model")
        let data = try tokens(data, "data")
        let out = try need(out_model, "out_model")
        let given =
            try readStruct(options, prune_healing_options(), least: healingOptionsSize, "options")
            ?? prune_healing_options()
        let asked = try healingOptions(given)
        let heldOut = given.held_out == nil ? nil : try tokens(given.held_out, "options.held_out")
        let teacher =
            given.teacher == nil ? nil : try HandleTable.object(given.teacher, ModelHandle.self, "options.teacher")
        let mask = try mask(keep, n_keep, or: handle)
        let healed = try heal(
            handle.model, data, heldOut: heldOut, under: mask, asked, teacher: teacher?.model,
            teacherMask: teacher?.currentMask, progress: listener(given.progress, given.user_data),
            step: stepListener(given.on_step, given.user_data))
        let made = ModelHandle(healed.model)
        try made.mask.withLock { $0 = mask }
        if let out_healing { out_healing.pointee = try HandleTable.add(HealingHandle(healed.report)) }
        out.pointee = try HandleTable.add(made)
    }
}

@c @implementation
public func prune_healing_release(_ healing: OpaquePointer!) { HandleTable.release(healing, HealingHandle.self) }

@c @implementation
public func prune_healing_info(
    _ healing: OpaquePointer!, _ out_summary: UnsafeMutablePointer<prune_healing_summary>!
) -> prune_status {
    guarded { () throws(PruneError) in
        let report = try HandleTable.object(healing, HealingHandle.self, "healing").report
        let summary = prune_healing_summary(
            struct_size: 0, objective: report.objective.rawValue, trained_parameters: Int64(report.trainedParameters),
            trained_tokens: Int64(report.trainedTokens), steps: Int64(report.steps), best_step: Int64(report.bestStep),
            loss_before: report.lossBefore, loss_after: report.lossAfter, seconds: report.seconds)
        try writeStruct(summary, to: out_summary, least: MemoryLayout<prune_healing_summary>.size, "out_summary")
    }
}

@c @implementation
public func prune_healing_history(
    _ healing: OpaquePointer!, _ out_records: UnsafeMutablePointer<prune_healing_record>!, _ capacity: Int,
    _ out_count: UnsafeMutablePointer<Int>!
) -> prune_status {
    guarded { () throws(PruneError) in
        let records = try HandleTable.object(healing, HealingHandle.self, "healing").report.history.map {
            prune_healing_record(
                step: Int64($0.step), learning_rate: $0.learningRate, loss: $0.loss, held_out_loss: $0.heldOutLoss)
        }
        try room(for: records.count, in: out_records, capacity, out_count, "out_records").update(
            from: records, count: records.count)
    }
}
