// SPDX-License-Identifier: Apache-2.0
public import CPruneCore
import PruneCore

@c @implementation
public func prune_model_own_weights(
    _ model: OpaquePointer!, _ out_text: UnsafeMutablePointer<CChar>!, _ capacity: Int,
    _ out_count: UnsafeMutablePointer<Int>!
) -> prune_status {
    guarded { () throws(PruneError) in
        let handle = try HandleTable.object(model, ModelHandle.self, "model")
        try write(OwnWeights(of: handle.model).text, to: out_text, capacity, out_count)
    }
}

@c @implementation
public func prune_model_own_weight(
    _ model: OpaquePointer!, _ name: UnsafePointer<CChar>!, _ out_bytes: UnsafeMutableRawPointer!, _ capacity: Int,
    _ out_count: UnsafeMutablePointer<Int>!
) -> prune_status {
    guarded { () throws(PruneError) in
        let handle = try HandleTable.object(model, ModelHandle.self, "model")
        let name = try text(try need(name, "name"), "name")
        try OwnWeights(of: handle.model).withBytes(of: name) { (bytes) throws(PruneError) in
            let out = try room(
                for: bytes.count, in: out_bytes?.assumingMemoryBound(to: UInt8.self), capacity, out_count, "out_bytes")
            // Safe: both have as many bytes, and the library's memory is not the caller's.
            if let base = bytes.baseAddress {
                UnsafeMutableRawPointer(out).copyMemory(from: base, byteCount: bytes.count)
            }
        }
    }
}
