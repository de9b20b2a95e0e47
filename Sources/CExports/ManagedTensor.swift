// SPDX-License-Identifier: Apache-2.0
internal import CDLPack
import PruneCore

/// A tensor of another library, handed over as DLPack defines it.
///
/// Sendable as `LentTensor` is. The pointers that it holds are followed as the standard lays them out, after the version was
/// checked.
struct ManagedTensor: @unchecked Sendable {
    private let pointer: UnsafeMutablePointer<dlpack_layout_managed>

    init(_ pointer: OpaquePointer) { self.pointer = UnsafeMutablePointer(pointer) }

    /// The tensor as the model reads it. What the engine cannot compute with is a fault only if the model needs it.
    ///
    /// Errors: `.unsupported` for another major version, of which nothing more can be read; `.argument` for a NULL, a
    /// negative number of dimensions, or an offset that leads out of memory.
    func lent(as name: String) throws(PruneError) -> LentTensor {
        let managed = pointer.pointee
        guard managed.major == UInt32(DLPACK_LAYOUT_MAJOR) else {
            throw PruneError(
                .unsupported,
                "tensor \(name.quoted) is of DLPack version \(managed.major).\(managed.minor); this library reads version 1"
            )
        }
        let tensor = managed.tensor
        func unusable(_ kind: FailureKind, _ why: String) -> LentTensor {
            LentTensor(name: name, fault: PruneError(kind, "tensor \(name.quoted) \(why)"))
        }
        guard tensor.n_dimensions >= 0 else {
            throw PruneError(.argument, "tensor \(name.quoted) has \(tensor.n_dimensions) dimensions")
        }
        guard Self.readable.contains(tensor.device_type) else {
            return unusable(
                .unsupported,
                "lies on a device of DLPack type \(tensor.device_type), number \(tensor.device_id); copy it to the CPU")
        }
        guard let type = Self.elementType(tensor) else {
            return unusable(
                .unsupported,
                "has elements of DLPack type code \(tensor.code), \(tensor.bits) bits, \(tensor.lanes) lanes; convert it to "
                    + "float32, float16 or bfloat16")
        }
        // As many sizes are read as are needed, whatever number is stated.
        guard tensor.n_dimensions == 1 || tensor.n_dimensions == 2 else {
            return unusable(.format, "has \(tensor.n_dimensions) dimensions; a weight has 1 or 2")
        }
        let count = Int(tensor.n_dimensions)
        let shape = try array(try need(tensor.shape, "the shape of tensor \(name.quoted)"), count, "shape")
        let strides = try tensor.strides.map { strides throws(PruneError) in try array(strides, count, "strides") }
        return LentTensor(name: name, data: try first(tensor, name), type, shape: shape, strides: strides)
    }

    /// The address of the first element. NULL stays NULL: tensors without elements have it.
    private func first(_ tensor: dlpack_layout_tensor, _ name: String) throws(PruneError) -> UnsafeRawPointer? {
        guard let data = tensor.data else { return nil }
        let (address, overflow) = UInt(bitPattern: data).addingReportingOverflow(UInt(tensor.byte_offset))
        guard !overflow else {
            throw PruneError(
                .argument, "tensor \(name.quoted) has a byte_offset of \(tensor.byte_offset), beyond all memory")
        }
        return UnsafeRawPointer(bitPattern: address)
    }

    private static let readable = [DLPACK_LAYOUT_CPU, DLPACK_LAYOUT_CUDA_HOST, DLPACK_LAYOUT_ROCM_HOST].map {
        Int32($0)
    }

    private static func elementType(_ tensor: dlpack_layout_tensor) -> ElementType? {
        guard tensor.lanes == 1 else { return nil }
        switch (Int(tensor.code), tensor.bits) {
        case (DLPACK_LAYOUT_FLOAT, 32): return .float32
        case (DLPACK_LAYOUT_FLOAT, 16): return .float16
        case (DLPACK_LAYOUT_BFLOAT, 16): return .bfloat16
        default: return nil
        }
    }

    /// Gives the tensors back to their producers. One that was given under two names is one tensor, and goes once.
    static func deleteAll(_ tensors: [ManagedTensor]) {
        var seen: Set<UnsafeMutablePointer<dlpack_layout_managed>> = []
        for tensor in tensors where seen.insert(tensor.pointer).inserted {
            tensor.pointer.pointee.deleter?(tensor.pointer)
        }
    }
}
