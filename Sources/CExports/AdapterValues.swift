// SPDX-License-Identifier: Apache-2.0
public import CPruneCore
import PruneCore

/// What a `prune_adapters` stands for.
final class AdaptersHandle: Sendable {
    private let adapters: Shared<AdapterSet>

    init(_ adapters: AdapterSet) { self.adapters = Shared(adapters) }

    /// Errors: those of `Lock.withLock`, here and below.
    var current: AdapterSet {
        get throws(PruneError) { try adapters.with { $0 } }
    }

    func replace(_ part: AdapterPart, atSublayer sublayer: Int, with values: [Float]) throws(PruneError) {
        try adapters.with { (adapters) throws(PruneError) in
            try adapters.replace(part, atSublayer: sublayer, with: values)
        }
    }
}

private func adapters(_ handle: OpaquePointer?) throws(PruneError) -> AdapterSet {
    try HandleTable.object(handle, AdaptersHandle.self, "adapters").current
}

@c @implementation
public func prune_adapters_release(_ adapters: OpaquePointer!) { HandleTable.release(adapters, AdaptersHandle.self) }

@c @implementation
public func prune_adapters_info(
    _ adapters: OpaquePointer!, _ out_summary: UnsafeMutablePointer<prune_adapters_summary>!
) -> prune_status {
    guarded { () throws(PruneError) in
        let set = try CExports.adapters(adapters)
        let report = set.report
        let summary = prune_adapters_summary(
            struct_size: 0, objective: report.objective.rawValue, n_blocks: Int64(set.mask.blockCount),
            hidden_size: Int64(set.hiddenSize), n_adapters: Int64(set.adapters.count),
            parameters: Int64(set.parameterCount), statistics_tokens: Int64(report.statisticsTokens),
            trained_tokens: Int64(report.trainedTokens), steps: Int64(report.steps), best_step: Int64(report.bestStep),
            held_out_before: report.heldOutBefore ?? .nan, held_out_best: report.heldOutBest ?? .nan,
            seconds: report.seconds)
        try writeStruct(summary, to: out_summary, least: MemoryLayout<prune_adapters_summary>.size, "out_summary")
    }
}

/// Writes what there is of something in adapters, if it fits. Nothing needs no room.
private func write<Element>(
    _ handle: OpaquePointer?, to buffer: UnsafeMutablePointer<Element>?, _ capacity: Int,
    _ outCount: UnsafeMutablePointer<Int>?, _ name: String, _ elements: (AdapterSet) throws(PruneError) -> [Element]
) -> prune_status {
    guarded { () throws(PruneError) in
        let elements = try elements(try adapters(handle))
        if elements.isEmpty {
            outCount?.pointee = 0
            return
        }
        try room(for: elements.count, in: buffer, capacity, outCount, name).update(
            from: elements, count: elements.count)
    }
}

@c @implementation
public func prune_adapters_list(
    _ adapters: OpaquePointer!, _ out_adapters: UnsafeMutablePointer<prune_adapter>!, _ capacity: Int,
    _ out_count: UnsafeMutablePointer<Int>!
) -> prune_status {
    write(adapters, to: out_adapters, capacity, out_count, "out_adapters") { (set) throws(PruneError) in
        set.adapters.sorted { $0.key < $1.key }.map { sublayer, own in
            let input: AdapterInput = own.norm == nil ? .raw : .normed
            return prune_adapter(
                sublayer: Int64(sublayer), kind: own.kind.rawValue, input: input.rawValue, rank: Int64(own.rank),
                parameters: Int64(own.parameters.count), bias_norm: own.biasNorm, matrix_norm: own.matrixNorm,
                ridge: set.report.ridges[sublayer] ?? .nan, explained: set.report.explained[sublayer] ?? .nan)
        }
    }
}

@c @implementation
public func prune_adapters_mask(
    _ adapters: OpaquePointer!, _ out_keep: UnsafeMutablePointer<UInt8>!, _ capacity: Int,
    _ out_count: UnsafeMutablePointer<Int>!
) -> prune_status {
    write(adapters, to: out_keep, capacity, out_count, "out_keep") { (set) throws(PruneError) in set.mask.bytes }
}

@c @implementation
public func prune_adapters_history(
    _ adapters: OpaquePointer!, _ out_records: UnsafeMutablePointer<prune_training_record>!, _ capacity: Int,
    _ out_count: UnsafeMutablePointer<Int>!
) -> prune_status {
    write(adapters, to: out_records, capacity, out_count, "out_records") { (set) throws(PruneError) in
        set.report.history.map {
            prune_training_record(step: Int64($0.step), loss: $0.loss, held_out_loss: $0.heldOutLoss)
        }
    }
}

@c @implementation
public func prune_adapters_get(
    _ adapters: OpaquePointer!, _ sublayer: Int64, _ part: prune_part, _ out_values: UnsafeMutablePointer<Float>!,
    _ capacity: Int, _ out_count: UnsafeMutablePointer<Int>!
) -> prune_status {
    write(adapters, to: out_values, capacity, out_count, "out_values") { (set) throws(PruneError) in
        try Memory.require(4 * set.parameterCount, for: "the values of an adapter", "end other work first")
        return try set.values(of: try choice(part, "part"), atSublayer: Int(clamping: sublayer))
    }
}

@c @implementation
public func prune_adapters_set(
    _ adapters: OpaquePointer!, _ sublayer: Int64, _ part: prune_part, _ values: UnsafePointer<Float>!, _ n_values: Int
) -> prune_status {
    guarded { () throws(PruneError) in
        let handle = try HandleTable.object(adapters, AdaptersHandle.self, "adapters")
        let part: AdapterPart = try choice(part, "part")
        let values = try array(try need(values, "values"), n_values, "values")
        // The adapters are copied if another call reads them meanwhile.
        try Memory.require(
            4 * handle.current.parameterCount, for: "a copy of the adapters", "end other work first")
        try handle.replace(part, atSublayer: Int(clamping: sublayer), with: values)
    }
}

@c @implementation
public func prune_adapters_save(
    _ adapters: OpaquePointer!, _ directory: UnsafePointer<CChar>!, _ provenance_json: UnsafePointer<CChar>!
) -> prune_status {
    guarded { () throws(PruneError) in
        let set = try CExports.adapters(adapters)
        let directory = try text(try need(directory, "directory"), "directory")
        try AdapterFiles.save(set, to: directory, provenance: try optionalText(provenance_json, "provenance_json"))
    }
}

@c @implementation
public func prune_adapters_load(
    _ directory: UnsafePointer<CChar>!, _ out_adapters: UnsafeMutablePointer<OpaquePointer?>!
) -> prune_status {
    out_adapters?.pointee = nil
    return guarded { () throws(PruneError) in
        let directory = try text(try need(directory, "directory"), "directory")
        let out = try need(out_adapters, "out_adapters")
        out.pointee = try HandleTable.add(AdaptersHandle(try AdapterFiles.load(directory)))
    }
}

@c @implementation
public func prune_adapters_fold(
    _ adapters: OpaquePointer!, _ out_biases: UnsafeMutablePointer<Float>!, _ capacity: Int,
    _ out_count: UnsafeMutablePointer<Int>!, _ out_rest: UnsafeMutablePointer<OpaquePointer?>!
) -> prune_status {
    out_rest?.pointee = nil
    return guarded { () throws(PruneError) in
        let set = try CExports.adapters(adapters)
        let rest = try need(out_rest, "out_rest")
        let count = set.mask.keeps.count * set.hiddenSize
        try Memory.require(
            count.times(clamping: 4), for: "\(count) biases", "end other work first")
        let out = try room(for: count, in: out_biases, capacity, out_count, "out_biases")
        let folded = FoldedAdapters(set)
        out.update(from: folded.biases, count: count)
        rest.pointee = try HandleTable.add(AdaptersHandle(folded.rest))
    }
}
