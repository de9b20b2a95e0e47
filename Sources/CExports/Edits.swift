// SPDX-License-Identifier: Apache-2.0
public import CPruneCore
import PruneCore

@c @implementation
public func prune_model_edit(
    _ model: OpaquePointer!, _ edits_json: UnsafePointer<CChar>!, _ out_model: UnsafeMutablePointer<OpaquePointer?>!
) -> prune_status {
    out_model?.pointee = nil
    return guarded { () throws(PruneError) in
        let handle = try HandleTable.object(model, ModelHandle.self, "model")
        let text = try text(try need(edits_json, "edits_json"), "edits_json")
        let out = try need(out_model, "out_model")
        let edits = try EditDocument.read(text, source: "edits_json", blocks: handle.model.shape.blockCount)
        out.pointee = try HandleTable.add(ModelHandle(try editedModel(handle.model, by: edits)))
    }
}

@c @implementation
public func prune_edited_mask_to_json(
    _ keep: UnsafePointer<UInt8>!, _ n_keep: Int, _ edits_json: UnsafePointer<CChar>!,
    _ provenance_json: UnsafePointer<CChar>!, _ out_text: UnsafeMutablePointer<CChar>!, _ capacity: Int,
    _ out_count: UnsafeMutablePointer<Int>!
) -> prune_status {
    guarded { () throws(PruneError) in
        try checkMaskLength(n_keep)
        let mask = try KeepMask(bytes: try array(try need(keep, "keep"), n_keep, "keep"))
        let edits = try optionalText(edits_json, "edits_json").map { text throws(PruneError) in
            try EditDocument.read(text, source: "edits_json", blocks: mask.blockCount)
        }
        let provenance = try optionalText(provenance_json, "provenance_json")
        try write(
            try MaskDocument.write(mask, edits: edits ?? [], provenance: provenance), to: out_text, capacity, out_count)
    }
}

@c @implementation
public func prune_edited_mask_from_json(
    _ text: UnsafePointer<CChar>!, _ out_keep: UnsafeMutablePointer<UInt8>!, _ capacity: Int,
    _ out_count: UnsafeMutablePointer<Int>!, _ out_edits: UnsafeMutablePointer<CChar>!, _ edits_capacity: Int,
    _ out_edits_count: UnsafeMutablePointer<Int>!
) -> prune_status {
    guarded { () throws(PruneError) in
        let (mask, edits) = try MaskDocument.readWithEdits(try CExports.text(try need(text, "text"), "text"))
        let bytes = mask.bytes
        let written = EditDocument.write(edits)
        // Both counts are told before either buffer is found too small.
        out_count?.pointee = bytes.count
        out_edits_count?.pointee = written.utf8.count + 1
        let keep = try room(for: bytes.count, in: out_keep, capacity, out_count, "out_keep")
        try write(written, to: out_edits, edits_capacity, out_edits_count)
        keep.update(from: bytes, count: bytes.count)
    }
}
