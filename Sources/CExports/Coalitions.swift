// SPDX-License-Identifier: Apache-2.0
public import CPruneCore
import PruneCore

private let coalitionOptionsSize = MemoryLayout<prune_coalition_options>.size
private let walkReportSize = MemoryLayout<prune_walk_report>.size
private let choicesSize = MemoryLayout<prune_choices>.size

/// Coalition options as the core takes them.
struct CoalitionOptions {
    var measure: Measure
    /// nil where there is none.
    var cap: Double?
    /// PRUNE_CAP_DEFAULT was given, to which a call may give a meaning of its own.
    var isDefaultCap: Bool
    /// nil for everything kept.
    var reference: KeepMask?
    var walk: WalkOptions
    var progress: ProgressMeter.Listener?
}

/// Coalition options of a caller, those of a call or those that other options point to; defaults for NULL.
///
/// Errors: `.argument` naming the field.
func coalitionOptions(
    _ given: UnsafePointer<prune_coalition_options>?, _ name: String, _ handle: ModelHandle
) throws(PruneError) -> CoalitionOptions {
    let options =
        try readStruct(given, prune_coalition_options(), least: coalitionOptionsSize, name) ?? prune_coalition_options()
    let isDefault = options.cap == PRUNE_CAP_DEFAULT
    guard isDefault || options.cap == PRUNE_CAP_NONE || options.cap > 0 else {
        throw PruneError(
            .argument,
            "\(name).cap is \(options.cap); it must be positive, PRUNE_CAP_DEFAULT (0) or PRUNE_CAP_NONE (-1)")
    }
    guard options.memory_budget >= 0 else {
        throw PruneError(
            .argument, "\(name).memory_budget is \(options.memory_budget); it must be 0 (chosen) or more bytes")
    }
    if options.reference == nil, options.n_reference != 0 {
        throw PruneError(
            .argument, "\(name).reference is NULL, but its count is \(UInt(bitPattern: options.n_reference))")
    }
    let reference = try options.reference.map { keep throws(PruneError) in
        try mask(keep, options.n_reference, or: handle, "\(name).reference")
    }
    return CoalitionOptions(
        measure: try choice(options.measure, "\(name).measure"), cap: options.cap > 0 ? options.cap : nil,
        isDefaultCap: isDefault, reference: reference,
        walk: WalkOptions(
            batchTokens: try batchTokens(options.batch_tokens),
            memoryBudget: options.memory_budget == 0 ? nil : Int(clamping: options.memory_budget)),
        progress: listener(options.progress, options.user_data))
}

@c @implementation
public func prune_model_damages(
    _ model: OpaquePointer!, _ data: OpaquePointer!, _ keep_masks: UnsafePointer<UInt8>!, _ n_masks: Int,
    _ n_keep: Int, _ options: UnsafePointer<prune_coalition_options>!, _ out_values: UnsafeMutablePointer<Double>!,
    _ out_report: UnsafeMutablePointer<prune_walk_report>!
) -> prune_status {
    guarded { () throws(PruneError) in
        let handle = try HandleTable.object(model, ModelHandle.self, "model")
        let data = try tokens(data, "data")
        let asked = try coalitionOptions(options, "options", handle)
        let out = try need(out_values, "out_values")
        // Read before the work: a caller whose struct cannot be written learns it at once.
        _ = try readStruct(UnsafePointer(out_report), prune_walk_report(), least: walkReportSize, "out_report")
        let masks = try masks(keep_masks, n_masks, n_keep, handle)
        let (values, report) = try damages(
            handle.model, data, under: masks, asked.measure, cap: asked.cap, reference: asked.reference, asked.walk,
            progress: asked.progress)
        if let out_report { try writeStruct(walkReport(report), to: out_report, least: walkReportSize, "out_report") }
        out.update(from: values, count: values.count)
    }
}

func walkReport(_ report: WalkReport) -> prune_walk_report {
    prune_walk_report(
        struct_size: 0, reserved: 0, sublayers_computed: Int64(report.sublayersComputed),
        sublayers_naive: Int64(report.sublayersNaive), tokens: Int64(report.tokens), seconds: report.seconds)
}

@c @implementation
public func prune_data_create_choices(
    _ choices: UnsafePointer<prune_choices>!, _ out_data: UnsafeMutablePointer<OpaquePointer?>!
) -> prune_status {
    out_data?.pointee = nil
    return guarded { () throws(PruneError) in
        let out = try need(out_data, "out_data")
        let choices = try need(
            try readStruct(choices, prune_choices(), least: choicesSize, "choices"), "choices")
        let score: ChoiceScore = try choice(choices.score, "choices.score")
        out.pointee = try HandleTable.add(try TokenData(try items(choices), score: score))
    }
}

/// The items of a caller's arrays. Errors: `.argument` for NULL; `.data` for a length or count that no item can have.
private func items(_ choices: prune_choices) throws(PruneError) -> [ChoiceItem] {
    let count = choices.n_items
    let contextLengths = try array(choices.context_lengths, count, "choices.context_lengths")
    let candidateCounts = try array(choices.n_candidates, count, "choices.n_candidates")
    let answers = try array(choices.answers, count, "choices.answers")
    var candidates = 0
    for (item, own) in candidateCounts.enumerated() {
        try ChoiceItem.check(candidateCount: own, item: item)
        // None of these sums can overflow: memory holds fewer than 2^38 numbers, each at most 2^24.
        candidates += Int(own)
    }
    let candidateLengths = try array(choices.candidate_lengths, candidates, "choices.candidate_lengths")
    var contextTokens = 0
    var candidateTokens = 0
    var lengths = candidateLengths[...]
    for item in 0..<count {
        try ChoiceItem.check(length: contextLengths[item], of: "the context", item: item)
        contextTokens += Int(contextLengths[item])
        for (candidate, length) in lengths.prefix(Int(candidateCounts[item])).enumerated() {
            try ChoiceItem.check(length: length, of: "candidate \(candidate)", item: item)
            candidateTokens += Int(length)
        }
        lengths = lengths.dropFirst(Int(candidateCounts[item]))
    }
    var contexts = try array(choices.context_ids, contextTokens, "choices.context_ids")[...]
    var ids = try array(choices.candidate_ids, candidateTokens, "choices.candidate_ids")[...]
    lengths = candidateLengths[...]
    // Each context and each candidate is an array of its own.
    try Memory.require(
        4 * (contextTokens + candidateTokens) + 64 * (candidates + count) + 64 * count,
        for: "\(count) items of multiple-choice data", "give fewer at a time")
    return (0..<count).map { item in
        let own = (0..<candidateCounts[item]).map { _ in take(Int(lengths.removeFirst()), from: &ids) }
        return ChoiceItem(
            context: take(Int(contextLengths[item]), from: &contexts), candidates: own,
            answer: Int(clamping: answers[item]))
    }
}

/// Cuts off the first elements.
private func take(_ count: Int, from ids: inout ArraySlice<Int32>) -> [Int32] {
    defer { ids = ids.dropFirst(count) }
    return Array(ids.prefix(count))
}

@c @implementation
public func prune_model_evaluate_choices(
    _ model: OpaquePointer!, _ data: OpaquePointer!, _ keep: UnsafePointer<UInt8>!, _ n_keep: Int,
    _ options: UnsafePointer<prune_evaluate_options>!, _ out_log_likelihoods: UnsafeMutablePointer<Double>!,
    _ capacity: Int, _ out_count: UnsafeMutablePointer<Int>!
) -> prune_status {
    guarded { () throws(PruneError) in
        let handle = try HandleTable.object(model, ModelHandle.self, "model")
        let data = try tokens(data, "data")
        let options = try evaluateOptions(options)
        let mask = try mask(keep, n_keep, or: handle)
        let candidates = try choiceItems(of: data).candidateCount
        let out = try room(for: candidates, in: out_log_likelihoods, capacity, out_count, "out_log_likelihoods")
        let values = try choiceLogLikelihoods(
            handle.model, data, under: mask, batchTokens: try batchTokens(options.batch_tokens),
            progress: listener(options.progress, options.user_data))
        out.update(from: values, count: values.count)
    }
}
