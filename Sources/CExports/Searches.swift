// SPDX-License-Identifier: Apache-2.0
public import CPruneCore
import PruneCore

private let searchStateSize = MemoryLayout<prune_search_state>.size

private func shared(_ search: OpaquePointer?) throws(PruneError) -> SharedSearch {
    try HandleTable.object(search, SharedSearch.self, "search")
}

@c @implementation
public func prune_search_create(
    _ model: OpaquePointer!, _ options: UnsafePointer<prune_search_options>!,
    _ out_search: UnsafeMutablePointer<OpaquePointer?>!
) -> prune_status {
    out_search?.pointee = nil
    return guarded { () throws(PruneError) in
        let out = try need(out_search, "out_search")
        let handle = try HandleTable.object(model, ModelHandle.self, "model")
        out.pointee = try HandleTable.add(SharedSearch(try Search(try searchOptions(options, handle))))
    }
}

@c @implementation
public func prune_search_release(_ search: OpaquePointer!) { HandleTable.release(search, SharedSearch.self) }

@c @implementation
public func prune_search_ask(
    _ search: OpaquePointer!, _ most: Int, _ out_masks: UnsafeMutablePointer<UInt8>!,
    _ out_count: UnsafeMutablePointer<Int>!, _ out_share: UnsafeMutablePointer<Double>!
) -> prune_status {
    guarded { () throws(PruneError) in
        let search = try shared(search)
        let outCount = try need(out_count, "out_count")
        let out = try need(out_masks, "out_masks")
        // A count beyond what a buffer can hold is read as negative; both ask for nothing sensible.
        guard most >= 0 else {
            throw PruneError(.argument, "most is \(UInt(bitPattern: most)), more than memory has room for")
        }
        let takesShares = out_share != nil
        let (masks, share) = try search.with { (search) throws(PruneError) in
            try search.ask(most, takesShares: takesShares)
        }
        for (row, mask) in masks.enumerated() {
            (out + row * mask.keeps.count).update(from: mask.bytes, count: mask.keeps.count)
        }
        outCount.pointee = masks.count
        out_share?.pointee = share
    }
}

@c @implementation
public func prune_search_tell(
    _ search: OpaquePointer!, _ masks: UnsafePointer<UInt8>!, _ damages: UnsafePointer<Double>!, _ n_masks: Int
) -> prune_status {
    guarded { () throws(PruneError) in
        let search = try shared(search)
        let masks = try need(masks, "masks")
        let damages = try array(try need(damages, "damages"), n_masks, "damages")
        let length = 2 * (try search.with { (search) throws(PruneError) in search.blockCount })
        let rows = try rows(masks, n_masks, of: length, "masks") { (row) throws(PruneError) in try KeepMask(bytes: row)
        }
        try search.with { (search) throws(PruneError) in try search.tell(rows, damages) }
    }
}

@c @implementation
public func prune_search_info(
    _ search: OpaquePointer!, _ out_state: UnsafeMutablePointer<prune_search_state>!
) -> prune_status {
    guarded { () throws(PruneError) in
        let state = try shared(search).with { (search) throws(PruneError) in search.state }
        let out = prune_search_state(
            struct_size: 0, strategy: state.strategy.rawValue, done: state.isDone ? 1 : 0, met: state.isMet ? 1 : 0,
            n_blocks: Int64(state.blockCount), asked: Int64(state.asked), told: Int64(state.told),
            removed: Int64(state.removed), steps: Int64(state.steps), start_damage: state.startDamage ?? .nan,
            damage: state.damage ?? .nan, sublayers_computed: Int64(state.sublayersComputed),
            sublayers_naive: Int64(state.sublayersNaive))
        try writeStruct(out, to: out_state, least: searchStateSize, "out_state")
    }
}

@c @implementation
public func prune_search_mask(
    _ search: OpaquePointer!, _ out_keep: UnsafeMutablePointer<UInt8>!, _ capacity: Int,
    _ out_count: UnsafeMutablePointer<Int>!
) -> prune_status {
    guarded { () throws(PruneError) in
        let bytes = try shared(search).with { (search) throws(PruneError) in search.mask.bytes }
        try room(for: bytes.count, in: out_keep, capacity, out_count, "out_keep").update(
            from: bytes, count: bytes.count)
    }
}

@c @implementation
public func prune_search_path(
    _ search: OpaquePointer!, _ out_steps: UnsafeMutablePointer<prune_search_step>!,
    _ out_masks: UnsafeMutablePointer<UInt8>!, _ capacity: Int, _ out_count: UnsafeMutablePointer<Int>!
) -> prune_status {
    guarded { () throws(PruneError) in
        let path = try shared(search).with { (search) throws(PruneError) in
            try Memory.require(search.pathBytes, for: "the path of the search", "end other work first")
            return search.path
        }
        out_count?.pointee = path.count
        guard capacity >= path.count else {
            throw PruneError(.buffer, "the buffers have room for \(capacity) steps; \(path.count) are needed")
        }
        guard out_steps != nil || out_masks != nil else {
            throw PruneError(.argument, "out_steps and out_masks are NULL; give one of them")
        }
        for (index, step) in path.enumerated() {
            out_steps?[index] = prune_search_step(
                unit: Int64(step.unit ?? -1), removed: Int64(step.removed), damage: step.damage ?? .nan,
                parameters: Int64(step.cost.parameters), parameter_bytes: Int64(step.cost.parameterBytes),
                kv_bytes: Int64(step.cost.keyValueBytes), told: Int64(step.told))
            let length = step.mask.keeps.count
            if let out_masks { (out_masks + index * length).update(from: step.mask.bytes, count: length) }
        }
    }
}

@c @implementation
public func prune_search_save(
    _ search: OpaquePointer!, _ out_bytes: UnsafeMutablePointer<UInt8>!, _ capacity: Int,
    _ out_count: UnsafeMutablePointer<Int>!
) -> prune_status {
    guarded { () throws(PruneError) in
        let bytes = try shared(search).with { (search) throws(PruneError) in
            try Memory.require(
                SearchDocument.size(of: search).times(clamping: 3), for: "the bytes of the search",
                "end other work first")
            return SearchDocument.write(search)
        }
        try room(for: bytes.count, in: out_bytes, capacity, out_count, "out_bytes").update(
            from: bytes, count: bytes.count)
    }
}

@c @implementation
public func prune_search_load(
    _ bytes: UnsafePointer<UInt8>!, _ n_bytes: Int, _ out_search: UnsafeMutablePointer<OpaquePointer?>!
) -> prune_status {
    out_search?.pointee = nil
    return guarded { () throws(PruneError) in
        let out = try need(out_search, "out_search")
        let start = try need(bytes, "bytes")
        out.pointee = try HandleTable.add(SharedSearch(try SearchDocument.read(try array(start, n_bytes, "bytes"))))
    }
}
