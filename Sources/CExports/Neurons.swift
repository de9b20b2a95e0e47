// SPDX-License-Identifier: Apache-2.0
public import CPruneCore
import PruneCore

@c @implementation
public func prune_model_neuron_counts(
    _ model: OpaquePointer!, _ keep: UnsafePointer<UInt8>!, _ n_keep: Int,
    _ out_counts: UnsafeMutablePointer<Int64>!, _ capacity: Int, _ out_count: UnsafeMutablePointer<Int>!
) -> prune_status {
    guarded { () throws(PruneError) in
        let handle = try HandleTable.object(model, ModelHandle.self, "model")
        let counts = try neuronCounts(handle.model, under: try mask(keep, n_keep, or: handle))
        try room(for: counts.count, in: out_counts, capacity, out_count, "out_counts").update(
            from: counts.map { Int64($0) }, count: counts.count)
    }
}

@c @implementation
public func prune_model_neuron_scores(
    _ model: OpaquePointer!, _ data: OpaquePointer!, _ options: UnsafePointer<prune_neuron_options>!,
    _ out_norms: UnsafeMutablePointer<Double>!, _ out_contributions: UnsafeMutablePointer<Double>!, _ capacity: Int,
    _ out_count: UnsafeMutablePointer<Int>!
) -> prune_status {
    guarded { () throws(PruneError) in
        let handle = try HandleTable.object(model, ModelHandle.self, "model")
        let data = try tokens(data, "data")
        let given =
            try readStruct(
                options, prune_neuron_options(), least: MemoryLayout<prune_neuron_options>.size, "options")
            ?? prune_neuron_options()
        try checkReserved(given.reserved, "options")
        let mask = try mask(given.keep, given.n_keep, or: handle, "options.keep")
        let batch = try batchTokens(given.batch_tokens)
        // Asked before the work: a caller whose buffer is too small learns it at once.
        let count = try neuronCounts(handle.model, under: mask).reduce(0, +)
        let norms = try room(for: count, in: out_norms, capacity, out_count, "out_norms")
        let contributions = try room(for: count, in: out_contributions, capacity, out_count, "out_contributions")
        let scores = try neuronScores(
            handle.model, data, under: mask, batchTokens: batch, progress: listener(given.progress, given.user_data))
        norms.update(from: scores.norms.flatMap { $0 }, count: count)
        contributions.update(from: scores.contributions.flatMap { $0 }, count: count)
    }
}
