// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// Memory of the library's own that a tensor lies in: what takes the place of a stored weight.
///
/// Whoever makes it writes it before a model reads it. Training writes it again between steps, when no call of a model is
/// under way.
final class TensorMemory: @unchecked Sendable {
    let bytes: UnsafeMutableRawBufferPointer

    /// Zeros. Errors: `.memory`, naming what they were for.
    init(byteCount: Int, for purpose: @autoclosure () -> String) throws(PruneError) {
        try Memory.require(byteCount, for: purpose(), "free some, or use a smaller model")
        var raw: UnsafeMutableRawPointer?
        guard posix_memalign(&raw, 64, max(byteCount, 1)) == 0, let raw else {
            throw PruneError(.memory, "\(byteCount) bytes cannot be had for \(purpose())")
        }
        bytes = UnsafeMutableRawBufferPointer(start: raw, count: byteCount)
        bytes.initializeMemory(as: UInt8.self, repeating: 0)
    }

    deinit { free(bytes.baseAddress) }

    /// The memory as floats. Safe: it is aligned to cache lines, and a tensor of fp32 is never used as another type.
    var floats: UnsafeMutableBufferPointer<Float> { bytes.bindMemory(to: Float.self) }

    /// The memory as a tensor, which keeps it alive.
    ///
    /// - Parameter shape: as many elements as the memory holds.
    func tensor(_ name: String, _ elementType: ElementType, shape: [Int]) -> StoredTensor {
        StoredTensor(
            name: name, elementType: elementType, shape: shape, bytes: UnsafeRawBufferPointer(bytes), owner: self)
    }
}

extension StoredTensor {
    /// A tensor of floats of the library's own. Errors: `.memory`.
    static func floats(_ name: String, _ values: [Float], shape: [Int]) throws(PruneError) -> StoredTensor {
        let memory = try TensorMemory(
            byteCount: values.count.times(clamping: MemoryLayout<Float>.stride), for: "tensor \(name.quoted)")
        _ = memory.floats.update(fromContentsOf: values)
        return memory.tensor(name, .float32, shape: shape)
    }
}
