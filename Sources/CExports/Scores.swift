// SPDX-License-Identifier: Apache-2.0
public import CPruneCore
import PruneCore

private let scoreOptionsSize = MemoryLayout<prune_score_options>.size
private let statisticsOptionsSize = MemoryLayout<prune_statistics_options>.size

/// Options of a caller as a request. `keep`, and with it the model, may be left out where no pass is made.
private func request(
    _ options: UnsafePointer<prune_score_options>?, usual: [Metric], allowed: [Metric], for model: ModelHandle?,
    blocks: Int
) throws(PruneError) -> (ScoreRequest, prune_score_options) {
    let options =
        try readStruct(options, prune_score_options(), least: scoreOptionsSize, "options") ?? prune_score_options()
    let metrics = options.metrics == 0 ? usual : try chosenMetrics(options.metrics, of: allowed, "options.metrics")
    let request = ScoreRequest(
        metrics: metrics, granularity: try choice(options.granularity, "options.granularity"),
        relativeTo: try choice(options.relative_to, "options.relative_to"),
        selection: try choice(options.tokens, "options.tokens"),
        mask: try model.map { model throws(PruneError) in
            try mask(options.keep, options.n_keep, or: model, "options.keep")
        }
            ?? KeepMask(blocks: blocks),
        batchTokens: try batchTokens(options.batch_tokens))
    return (request, options)
}

/// Writes rows of scores one after the other. Errors: `.buffer`.
private func write(
    _ rows: [[Double]], to buffer: UnsafeMutablePointer<Double>?, _ capacity: Int,
    _ outCount: UnsafeMutablePointer<Int>?
) throws(PruneError) {
    let values = rows.flatMap { $0 }
    try room(for: values.count, in: buffer, capacity, outCount, "out_scores").update(from: values, count: values.count)
}

@c @implementation
public func prune_model_score(
    _ model: OpaquePointer!, _ data: OpaquePointer!, _ options: UnsafePointer<prune_score_options>!,
    _ out_scores: UnsafeMutablePointer<Double>!, _ capacity: Int, _ out_count: UnsafeMutablePointer<Int>!
) -> prune_status {
    guarded { () throws(PruneError) in
        let handle = try HandleTable.object(model, ModelHandle.self, "model")
        let data = data == nil ? nil : try tokens(data, "data")
        let blocks = handle.model.shape.blockCount
        let usual = handle.model.readsWeights ? Metric.allStatic : Metric.allStatic.filter { $0 != .magnitude }
        let (request, given) = try request(
            options, usual: usual, allowed: Metric.allCases, for: handle, blocks: blocks)
        // Asked before the work: a caller whose buffer is too small learns it at once.
        let count = request.metrics.count * request.granularity.unitCount(blocks: blocks)
        _ = try room(for: count, in: out_scores, capacity, out_count, "out_scores")
        let rows = try score(handle.model, data, request, progress: listener(given.progress, given.user_data))
        try write(rows, to: out_scores, capacity, out_count)
    }
}

@c @implementation
public func prune_statistics_create(
    _ n_blocks: Int64, _ options: UnsafePointer<prune_statistics_options>!,
    _ out_statistics: UnsafeMutablePointer<OpaquePointer?>!
) -> prune_status {
    out_statistics?.pointee = nil
    return guarded { () throws(PruneError) in
        let out = try need(out_statistics, "out_statistics")
        let options =
            try readStruct(options, prune_statistics_options(), least: statisticsOptionsSize, "options")
            ?? prune_statistics_options()
        try checkReserved(options.reserved, "options")
        guard n_blocks >= 1, n_blocks <= KeepMask.mostBlocks else {
            throw PruneError(.argument, "n_blocks is \(n_blocks); it must be 1 to \(KeepMask.mostBlocks)")
        }
        guard (0...1).contains(options.windows) else {
            throw PruneError(.argument, "options.windows is \(options.windows); it must be 0 or 1")
        }
        if options.windows == 1 { try ModelStatistics.requireWindows(1, blocks: Int(n_blocks)) }
        out.pointee = try HandleTable.add(
            StatisticsHandle(
                ModelStatistics(
                    blocks: Int(n_blocks), selection: try choice(options.tokens, "options.tokens"),
                    windows: options.windows == 1)))
    }
}

@c @implementation
public func prune_statistics_release(_ statistics: OpaquePointer!) {
    HandleTable.release(statistics, StatisticsHandle.self)
}

@c @implementation
public func prune_statistics_collect(
    _ statistics: OpaquePointer!, _ model: OpaquePointer!, _ data: OpaquePointer!,
    _ options: UnsafePointer<prune_score_options>!
) -> prune_status {
    guarded { () throws(PruneError) in
        let target = try HandleTable.object(statistics, StatisticsHandle.self, "statistics")
        let handle = try HandleTable.object(model, ModelHandle.self, "model")
        let data = try tokens(data, "data")
        let shape = handle.model.shape
        let (request, given) = try request(
            options, usual: Metric.ofStates, allowed: Metric.allCases, for: handle, blocks: shape.blockCount)
        let before = try target.current
        guard before.blockCount == shape.blockCount else {
            throw PruneError(
                .argument, "statistics are for \(before.blockCount) blocks, but the model has \(shape.blockCount)")
        }
        // Gathered apart and merged when whole, so that a failure adds nothing.
        if before.hasWindows { try ModelStatistics.requireWindows(2, blocks: shape.blockCount) }
        var gathered = ModelStatistics(
            blocks: shape.blockCount, selection: before.selection, windows: before.hasWindows)
        let batches = data.batches(of: request.batchTokens)
        let meter = ProgressMeter(
            stage: "collect", total: ModelStatistics.steps(batches, under: request.mask),
            listener: listener(given.progress, given.user_data))
        try gathered.collect(handle.model, batches, under: request.mask, meter)
        try target.merge(gathered)
    }
}

@c @implementation
public func prune_statistics_merge(_ statistics: OpaquePointer!, _ other: OpaquePointer!) -> prune_status {
    guarded { () throws(PruneError) in
        let target = try HandleTable.object(statistics, StatisticsHandle.self, "statistics")
        try target.merge(try HandleTable.object(other, StatisticsHandle.self, "other").current)
    }
}

@c @implementation
public func prune_statistics_scores(
    _ statistics: OpaquePointer!, _ options: UnsafePointer<prune_score_options>!,
    _ out_scores: UnsafeMutablePointer<Double>!, _ capacity: Int, _ out_count: UnsafeMutablePointer<Int>!
) -> prune_status {
    guarded { () throws(PruneError) in
        let current = try HandleTable.object(statistics, StatisticsHandle.self, "statistics").current
        let (request, _) = try request(
            options, usual: Metric.ofStates, allowed: Metric.ofStates, for: nil, blocks: current.blockCount)
        let rows = try request.metrics.map { metric throws(PruneError) in
            try current.scores(metric, request.granularity, relativeTo: request.relativeTo)
        }
        try write(rows, to: out_scores, capacity, out_count)
    }
}

@c @implementation
public func prune_statistics_windows(
    _ statistics: OpaquePointer!, _ out_distances: UnsafeMutablePointer<Double>!, _ capacity: Int,
    _ out_count: UnsafeMutablePointer<Int>!
) -> prune_status {
    guarded { () throws(PruneError) in
        let distances = try HandleTable.object(statistics, StatisticsHandle.self, "statistics").current
            .windowDistances()
        try room(for: distances.count, in: out_distances, capacity, out_count, "out_distances")
            .update(from: distances, count: distances.count)
    }
}
