// SPDX-License-Identifier: Apache-2.0
public import CPruneCore
import PruneCore

private let mergeOptionsSize = MemoryLayout<prune_merge_options>.size

/// What a `prune_merging` stands for.
final class MergingHandle: Sendable {
    let text: String

    init(_ text: String) { self.text = text }
}

/// Options of a caller; defaults for NULL. Errors: `.argument` naming the field.
private func mergeOptions(
    _ given: prune_merge_options, _ model: ModelHandle
) throws(PruneError) -> MergeOptions {
    var options = MergeOptions()
    switch Int(given.rule) {
    case PRUNE_MERGE_RUNNING: options.rule = .running
    case PRUNE_MERGE_SUM: options.rule = .sum
    default: throw PruneError(.argument, "options.rule is \(given.rule), which is none of PRUNE_MERGE_*")
    }
    options.threshold = chosen(given.threshold) ?? options.threshold
    options.weight = chosen(given.weight) ?? options.weight
    options.remove = chosen(given.remove)
    options.batchTokens = try batchTokens(given.batch_tokens)
    guard given.memory_budget >= 0 else {
        throw PruneError(.argument, "options.memory_budget is \(given.memory_budget); it must be 0 (chosen) or more")
    }
    options.memoryBudget = chosen(given.memory_budget)
    guard given.protect != nil || given.n_protect != 0 else { return options }
    let blocks = model.model.shape.blockCount
    guard given.n_protect == blocks else {
        throw PruneError(
            .argument, "options.n_protect is \(given.n_protect); this model has \(blocks) blocks, a byte for each")
    }
    let bytes = try array(try need(given.protect, "options.protect"), blocks, "options.protect")
    if let bad = bytes.firstIndex(where: { $0 > 1 }) {
        throw PruneError(.argument, "options.protect: entry \(bad) is \(bytes[bad]); it must be 0 or 1")
    }
    options.protected = Set(bytes.indices.filter { bytes[$0] == 1 })
    return options
}

@c @implementation
public func prune_model_merge(
    _ model: OpaquePointer!, _ data: OpaquePointer!, _ options: UnsafePointer<prune_merge_options>!,
    _ out_merging: UnsafeMutablePointer<OpaquePointer?>!
) -> prune_status {
    out_merging?.pointee = nil
    return guarded { () throws(PruneError) in
        let handle = try HandleTable.object(model, ModelHandle.self, "model")
        let data = try tokens(data, "data")
        let given =
            try readStruct(options, prune_merge_options(), least: mergeOptionsSize, "options") ?? prune_merge_options()
        let asked = try mergeOptions(given, handle)
        let out = try need(out_merging, "out_merging")
        let found = try mergeBlocks(
            handle.model, data, asked, progress: listener(given.progress, given.user_data))
        out.pointee = try HandleTable.add(MergingHandle(try found.text()))
    }
}

@c @implementation
public func prune_merging_to_json(
    _ merging: OpaquePointer!, _ out_text: UnsafeMutablePointer<CChar>!, _ capacity: Int,
    _ out_count: UnsafeMutablePointer<Int>!
) -> prune_status {
    guarded { () throws(PruneError) in
        try write(
            try HandleTable.object(merging, MergingHandle.self, "merging").text, to: out_text, capacity, out_count)
    }
}

@c @implementation
public func prune_merging_release(_ merging: OpaquePointer!) { HandleTable.release(merging, MergingHandle.self) }
