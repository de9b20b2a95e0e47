// SPDX-License-Identifier: Apache-2.0
public import CPruneCore
import PruneCore

@c @implementation
public func prune_model_mask_set(
    _ model: OpaquePointer!, _ keep: UnsafePointer<UInt8>!, _ n_keep: Int
) -> prune_status {
    guarded { () throws(PruneError) in
        let handle = try HandleTable.object(model, ModelHandle.self, "model")
        let everything = keep == nil && n_keep == 0
        let new =
            everything
            ? handle.model.shape.present : try mask(try need(keep, "keep"), n_keep, or: handle)
        try handle.mask.withLock { $0 = new }
    }
}

@c @implementation
public func prune_model_mask_get(
    _ model: OpaquePointer!, _ out_keep: UnsafeMutablePointer<UInt8>!, _ capacity: Int,
    _ out_count: UnsafeMutablePointer<Int>!
) -> prune_status {
    guarded { () throws(PruneError) in
        let bytes = try HandleTable.object(model, ModelHandle.self, "model").currentMask.bytes
        try room(for: bytes.count, in: out_keep, capacity, out_count, "out_keep").update(
            from: bytes, count: bytes.count)
    }
}

@c @implementation
public func prune_model_mask_own(
    _ model: OpaquePointer!, _ out_keep: UnsafeMutablePointer<UInt8>!, _ capacity: Int,
    _ out_count: UnsafeMutablePointer<Int>!
) -> prune_status {
    guarded { () throws(PruneError) in
        let bytes = try HandleTable.object(model, ModelHandle.self, "model").model.shape.present.bytes
        try room(for: bytes.count, in: out_keep, capacity, out_count, "out_keep").update(
            from: bytes, count: bytes.count)
    }
}

@c @implementation
public func prune_model_cost(
    _ model: OpaquePointer!, _ keep: UnsafePointer<UInt8>!, _ n_keep: Int,
    _ out_cost: UnsafeMutablePointer<prune_cost>!
) -> prune_status {
    guarded { () throws(PruneError) in
        let handle = try HandleTable.object(model, ModelHandle.self, "model")
        let cost = handle.model.shape.cost(under: try mask(keep, n_keep, or: handle))
        let out = prune_cost(
            struct_size: 0, sublayers_removed: Int32(clamping: cost.sublayersRemoved),
            parameters: Int64(cost.parameters),
            parameter_bytes: Int64(cost.parameterBytes), kv_bytes: Int64(cost.keyValueBytes),
            active_parameters: Int64(cost.activeParameters))
        try writeStruct(
            out, to: out_cost, least: MemoryLayout<prune_cost>.offset(of: \.active_parameters) ?? 0, "out_cost")
    }
}

/// Masks without a model: an even number of entries, at least one block, and no more than any model has.
func checkMaskLength(_ count: Int) throws(PruneError) {
    guard count >= 2, count % 2 == 0, count <= 2 * KeepMask.mostBlocks else {
        throw PruneError(
            .argument, "n_keep is \(count); it must be 2 * n_blocks, for 1 to \(KeepMask.mostBlocks) blocks")
    }
}

@c @implementation
public func prune_mask_remove_lowest(
    _ scores: UnsafePointer<Double>!, _ n_scores: Int, _ granularity: prune_granularity, _ n_remove: Int,
    _ keep_in: UnsafePointer<UInt8>!, _ out_keep: UnsafeMutablePointer<UInt8>!, _ n_keep: Int
) -> prune_status {
    guarded { () throws(PruneError) in
        try checkMaskLength(n_keep)
        let out = try need(out_keep, "out_keep")
        let scores = try array(try need(scores, "scores"), n_scores, "scores")
        let granularity: Granularity = try choice(granularity, "granularity")
        guard n_remove >= 0 else {
            throw PruneError(.argument, "n_remove is \(UInt(bitPattern: n_remove)), more than any model has")
        }
        let start =
            keep_in == nil
            ? KeepMask(blocks: n_keep / 2) : try KeepMask(bytes: try array(keep_in, n_keep, "keep_in"))
        let bytes = try start.removingLowest(n_remove, by: scores, granularity).bytes
        out.update(from: bytes, count: bytes.count)
    }
}

@c @implementation
public func prune_mask_to_json(
    _ keep: UnsafePointer<UInt8>!, _ n_keep: Int, _ provenance_json: UnsafePointer<CChar>!,
    _ out_text: UnsafeMutablePointer<CChar>!, _ capacity: Int, _ out_count: UnsafeMutablePointer<Int>!
) -> prune_status {
    guarded { () throws(PruneError) in
        try checkMaskLength(n_keep)
        let mask = try KeepMask(bytes: try array(try need(keep, "keep"), n_keep, "keep"))
        let provenance = try optionalText(provenance_json, "provenance_json")
        try write(try MaskDocument.write(mask, provenance: provenance), to: out_text, capacity, out_count)
    }
}

@c @implementation
public func prune_mask_from_json(
    _ text: UnsafePointer<CChar>!, _ out_keep: UnsafeMutablePointer<UInt8>!, _ capacity: Int,
    _ out_count: UnsafeMutablePointer<Int>!
) -> prune_status {
    guarded { () throws(PruneError) in
        let bytes = try MaskDocument.read(try CExports.text(try need(text, "text"), "text")).bytes
        try room(for: bytes.count, in: out_keep, capacity, out_count, "out_keep").update(
            from: bytes, count: bytes.count)
    }
}
