// SPDX-License-Identifier: Apache-2.0
public import CPruneCore
internal import PruneCore

@c @implementation
public func prune_model_plan(
    _ model: OpaquePointer!, _ out_text: UnsafeMutablePointer<CChar>!, _ capacity: Int,
    _ out_count: UnsafeMutablePointer<Int>!
) -> prune_status {
    guarded { () throws(PruneError) in
        let handle = try HandleTable.object(model, ModelHandle.self, "model")
        guard let text = planText(of: handle.model) else {
            throw PruneError(.unsupported, "a host runs this model, and its plan is the host's to know")
        }
        try write(text, to: out_text, capacity, out_count)
    }
}

@c @implementation
public func prune_model_config(
    _ model: OpaquePointer!, _ out_text: UnsafeMutablePointer<CChar>!, _ capacity: Int,
    _ out_count: UnsafeMutablePointer<Int>!
) -> prune_status {
    guarded { () throws(PruneError) in
        let handle = try HandleTable.object(model, ModelHandle.self, "model")
        guard let text = configurationText(of: handle.model) else {
            throw PruneError(.unsupported, "the model was not opened from a path, so that there is no config.json")
        }
        try write(text, to: out_text, capacity, out_count)
    }
}

@c @implementation
public func prune_architectures(
    _ out_text: UnsafeMutablePointer<CChar>!, _ capacity: Int, _ out_count: UnsafeMutablePointer<Int>!
) -> prune_status {
    guarded { () throws(PruneError) in
        try write(ArchitectureDocument.text, to: out_text, capacity, out_count)
    }
}

/// Writes text with a NUL at its end to a caller's buffer. Errors: as `room`.
func write(
    _ text: String, to out: UnsafeMutablePointer<CChar>?, _ capacity: Int, _ outCount: UnsafeMutablePointer<Int>?
) throws(PruneError) {
    let text = text.utf8CString
    let place = try room(for: text.count, in: out, capacity, outCount, "out_text")
    text.withUnsafeBufferPointer { text in
        if let base = text.baseAddress { place.update(from: base, count: text.count) }
    }
}
