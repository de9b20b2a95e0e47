// SPDX-License-Identifier: Apache-2.0
public import CPruneCore
import PruneCore

private let timeOptionsSize = MemoryLayout<prune_time_options>.size
private let runOptionsSize = MemoryLayout<prune_search_run_options>.size

@c @implementation
public func prune_model_times(
    _ model: OpaquePointer!, _ options: UnsafePointer<prune_time_options>!,
    _ out_times: UnsafeMutablePointer<prune_token_time>!, _ capacity: Int, _ out_count: UnsafeMutablePointer<Int>!
) -> prune_status {
    guarded { () throws(PruneError) in
        let handle = try HandleTable.object(model, ModelHandle.self, "model")
        let given =
            try readStruct(options, prune_time_options(), least: timeOptionsSize, "options") ?? prune_time_options()
        let asked = try TimeOptions(
            repetitions: chosen(Int64(given.repetitions)) ?? TimeOptions.usualRepetitions,
            promptTokens: chosen(given.prompt_tokens) ?? TimeOptions.usualTokens,
            context: chosen(given.context) ?? TimeOptions.usualTokens)
        // Asked before the work: a caller whose buffer is too small learns it at once.
        let count = handle.model.shape.sublayerCount + 1
        let out = try room(for: count, in: out_times, capacity, out_count, "out_times")
        let times = try tokenTimes(handle.model, asked, progress: listener(given.progress, given.user_data))
        for (index, time) in times.enumerated() {
            out[index] = prune_token_time(prefill_ms: time.prefill, decode_ms: time.decode)
        }
    }
}

@c @implementation
public func prune_model_search(
    _ model: OpaquePointer!, _ data: OpaquePointer!, _ search: OpaquePointer!,
    _ options: UnsafePointer<prune_search_run_options>!
) -> prune_status {
    guarded { () throws(PruneError) in
        let handle = try HandleTable.object(model, ModelHandle.self, "model")
        let data = try tokens(data, "data")
        let shared = try HandleTable.object(search, SharedSearch.self, "search")
        let given =
            try readStruct(options, prune_search_run_options(), least: runOptionsSize, "options")
            ?? prune_search_run_options()
        try checkReserved(given.reserved, "options")
        let asked = try coalitionOptions(given.coalitions, "options.coalitions", handle)
        guard given.batch_masks >= 0 else {
            throw PruneError(.argument, "options.batch_masks is \(given.batch_masks); it must be 0 (chosen) or more")
        }
        var metric: Metric?
        if given.metric != 0 {
            metric = Metric(rawValue: given.metric)
            guard metric != nil else {
                throw PruneError(
                    .argument, "options.metric is \(given.metric); it must be 0 or one bit of PRUNE_METRIC_*")
            }
        }
        let run = SearchRun(
            measure: asked.measure, cap: asked.cap, reference: asked.reference, walk: asked.walk, metric: metric,
            batchMasks: given.batch_masks == 0 ? SearchRun.usualBatch : Int(clamping: given.batch_masks))
        let callback = given.on_batch.map { callback in { callback(given.user_data, search) != 0 } }
        try PruneCore.run(
            shared, handle.model, data, run, listener: callback, walkListener: asked.progress)
    }
}
