// SPDX-License-Identifier: Apache-2.0
/// A bias, or other few numbers, as stored.
struct StoredVector: Sendable {
    let tensor: StoredTensor

    /// The elements in fp32, widened anew for every use: they are few, and a host that lends its weights may change them.
    func floats(_ scratch: BufferPool) throws(PruneError) -> FloatBuffer {
        let buffer = try scratch.buffer(tensor.elementCount)
        if let base = tensor.bytes.baseAddress {
            Kernels.widen(base, tensor.elementType, into: buffer.pointer, tensor.elementCount)
        }
        return buffer
    }
}

/// x -> weight * x + bias
struct Projection: Sendable {
    /// outputs x inputs; inputs x outputs if transposed.
    let weight: StoredMatrix
    var isTransposed = false
    let bias: StoredVector?

    var outputs: Int { isTransposed ? weight.columns : weight.rows }
    var inputs: Int { isTransposed ? weight.rows : weight.columns }
}
