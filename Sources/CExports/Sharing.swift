// SPDX-License-Identifier: Apache-2.0
public import CPruneCore
import PruneCore

private let shareOptionsSize = MemoryLayout<prune_share_options>.size
private let sharingOptionsSize = MemoryLayout<prune_sharing_options>.size
/// Errors of one analysis at most, so that their product with the pairs of any model is a count.
private let mostErrors = 1000
private let shareSummarySize = MemoryLayout<prune_share_summary>.size

/// The meaning of share options. What a call has no use for is checked all the same.
private struct ShareOptions {
    var sharing = SharingOptions()
    var adapters = AdapterOptions()
    /// nil = the closed form alone.
    var training: TrainingOptions?
    var heldOut: TokenData?
    let given: prune_share_options

    /// Errors: `.argument` naming the field; `.handle`.
    init(_ options: UnsafePointer<prune_share_options>?) throws(PruneError) {
        given =
            try readStruct(options, prune_share_options(), least: shareOptionsSize, "options") ?? prune_share_options()
        guard given.scaled == 0 || given.scaled == 1 else {
            throw PruneError(.argument, "options.scaled is \(given.scaled); it must be 0 or 1")
        }
        sharing.scaled = given.scaled == 1
        sharing.base = try choice(given.base, "options.base")
        sharing.bytes = chosen(given.bytes)
        sharing.firstShare = chosen(given.first_share) ?? sharing.firstShare
        sharing.ramp = chosen(given.ramp) ?? sharing.ramp
        adapters.rank = chosen(given.rank) ?? SharingOptions.usualRank
        adapters.ridge = chosen(given.ridge)
        adapters.heldOutShare = chosen(given.held_out_share) ?? adapters.heldOutShare
        adapters.seed = given.seed
        adapters.batchTokens = try batchTokens(given.batch_tokens)
        adapters.memoryBudget = chosen(given.memory_budget)
        heldOut = given.held_out == nil ? nil : try tokens(given.held_out, "options.held_out")
        let objective: RecoveryObjective = try choice(given.objective, "options.objective")
        let training = try Self.training(given, objective)
        self.training = objective == .closedForm ? nil : training
    }

    private static func training(
        _ given: prune_share_options, _ objective: RecoveryObjective
    ) throws(PruneError) -> TrainingOptions {
        var options = TrainingOptions()
        options.objective = objective
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
}

@c @implementation
public func prune_model_share(
    _ model: OpaquePointer!, _ data: OpaquePointer!, _ keep: UnsafePointer<UInt8>!, _ n_keep: Int,
    _ options: UnsafePointer<prune_share_options>!, _ out_summary: UnsafeMutablePointer<prune_share_summary>!,
    _ out_model: UnsafeMutablePointer<OpaquePointer?>!
) -> prune_status {
    out_model?.pointee = nil
    return guarded { () throws(PruneError) in
        let handle = try HandleTable.object(model, ModelHandle.self, "model")
        let data = data == nil ? nil : try tokens(data, "data")
        let out = try need(out_model, "out_model")
        let asked = try ShareOptions(options)
        let (shared, report) = try share(
            handle.model, data, heldOut: asked.heldOut, under: try mask(keep, n_keep, or: handle), asked.sharing,
            asked.adapters, training: asked.training, progress: listener(asked.given.progress, asked.given.user_data),
            step: stepListener(asked.given.on_step, asked.given.user_data))
        if let out_summary {
            let training = report.training
            try writeStruct(
                prune_share_summary(
                    struct_size: 0, reserved: 0, bytes_whole: Int64(report.bytesWhole),
                    bytes_shared: Int64(report.bytesShared), statistics_tokens: Int64(training.statisticsTokens),
                    trained_tokens: Int64(training.trainedTokens), steps: Int64(training.steps),
                    best_step: Int64(training.bestStep), held_out_before: training.heldOutBefore ?? .nan,
                    held_out_best: training.heldOutBest ?? .nan, seconds: training.seconds),
                to: out_summary, least: shareSummarySize, "out_summary")
        }
        out.pointee = try HandleTable.add(ModelHandle(shared))
    }
}

@c @implementation
public func prune_model_shared(
    _ model: OpaquePointer!, _ out_text: UnsafeMutablePointer<CChar>!, _ capacity: Int,
    _ out_count: UnsafeMutablePointer<Int>!
) -> prune_status {
    guarded { () throws(PruneError) in
        let handle = try HandleTable.object(model, ModelHandle.self, "model")
        try write(sharedText(of: handle.model), to: out_text, capacity, out_count)
    }
}

@c @implementation
public func prune_model_sharing(
    _ model: OpaquePointer!, _ data: OpaquePointer!, _ options: UnsafePointer<prune_sharing_options>!,
    _ out_pairs: UnsafeMutablePointer<prune_sharing_pair>!, _ capacity: Int, _ out_count: UnsafeMutablePointer<Int>!
) -> prune_status {
    guarded { () throws(PruneError) in
        let handle = try HandleTable.object(model, ModelHandle.self, "model")
        let data = data == nil ? nil : try tokens(data, "data")
        let given =
            try readStruct(options, prune_sharing_options(), least: sharingOptionsSize, "options")
            ?? prune_sharing_options()
        try checkReserved(given.reserved, "options")
        var adapters = AdapterOptions()
        adapters.ridge = chosen(given.ridge)
        adapters.batchTokens = try batchTokens(given.batch_tokens)
        adapters.memoryBudget = chosen(given.memory_budget)
        guard given.n_errors <= mostErrors else {
            throw PruneError(.argument, "options.n_errors is \(given.n_errors); it must be at most \(mostErrors)")
        }
        let errors =
            given.n_errors == 0 ? [0.1] : try array(given.errors, given.n_errors, "options.errors")
        let reach = chosen(given.reach)
        // Room is asked for before the work, which is long.
        let count = try sharingPairCount(handle.model, reach: reach)
        let out = try room(
            for: count * errors.count, in: out_pairs, capacity, out_count, "out_pairs")
        let records = try analyseSharing(
            handle.model, data, errors: errors, reach: reach, adapters,
            progress: listener(given.progress, given.user_data))
        for (index, record) in records.enumerated() {
            for (place, error) in errors.enumerated() {
                out[index * errors.count + place] = prune_sharing_pair(
                    sublayer: Int64(record.sublayer), base: Int64(record.baseSublayer), weight: Int64(record.weight),
                    outputs: Int64(record.outputs), inputs: Int64(record.inputs), error: error,
                    difference: record.difference, rank: Int64(record.ranks[place]),
                    weighted_difference: record.weightedDifference ?? .nan,
                    weighted_rank: record.weightedRanks.isEmpty ? -1 : Int64(record.weightedRanks[place]),
                    bytes_per_rank: Int64(record.bytesPerRank), bytes_whole: Int64(record.bytesWhole))
            }
        }
    }
}
