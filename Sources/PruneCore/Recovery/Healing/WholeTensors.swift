// SPDX-License-Identifier: Apache-2.0
/// Tensors that are trained as they are: masters in fp32, and what the model reads of them.
///
/// A model that multiplies in fp32 reads numbers of fp32. One that multiplies in bf16 reads them in the type that they were
/// stored in, those of quantised tensors in bf16.
final class WholeTensors: TensorParameterisation {
    let tensors: [StoredTensor]
    let parameters: [TrainedParameter]

    /// Numbers that are rounded at a time.
    private static let stretch = 1 << 16

    /// - Parameter stored: whole tensors of a model.
    /// Errors: `.memory`; `.file` if a file of the weights changed.
    init(_ stored: [StoredTensor], compute: ComputeType) throws(PruneError) {
        var tensors: [StoredTensor] = []
        var parameters: [TrainedParameter] = []
        for tensor in stored {
            let values = try FloatBuffer(count: tensor.elementCount)
            try reading(tensor.mappedFile.map { [$0] } ?? []) { () throws(PruneError) in
                tensor.widen(into: values.pointer)
            }
            let type = Self.type(of: tensor, compute)
            let memory = try TensorMemory(
                byteCount: type.bytes(of: tensor.elementCount), for: "tensor \(tensor.name.quoted)")
            tensors.append(memory.tensor(tensor.name, type, shape: tensor.shape))
            parameters.append(try TrainedParameter(tensor.name, values, decays: tensor.shape.count > 1))
        }
        self.tensors = tensors
        self.parameters = parameters
        try write(for: .look)
    }

    private static func type(of tensor: StoredTensor, _ compute: ComputeType) -> ElementType {
        if compute == .float32 || tensor.elementType == .float32 { return .float32 }
        // A vector in blocks is read as numbers all the same.
        return tensor.elementType.isQuantised ? .bfloat16 : tensor.elementType
    }

    /// Bytes for each number: master, best, two means, gradient, and what the model reads.
    static let bytesPerParameter = 24

    func write(for _: TensorUse) throws(PruneError) {
        for (tensor, parameter) in zip(tensors, parameters) {
            let type = tensor.elementType
            // Safe: the memory is this object's own, and nobody reads it now.
            guard let base = UnsafeMutableRawPointer(mutating: tensor.bytes.baseAddress) else { continue }
            let (values, count) = (parameter.values.pointer, parameter.values.count)
            ThreadPool.forEach((count + Self.stretch - 1) / Self.stretch) { piece, _ in
                let first = piece * Self.stretch
                Self.round(values + first, min(Self.stretch, count - first), to: type, base + first * type.blockBytes)
            }
        }
    }

    private static func round(
        _ values: UnsafePointer<Float>, _ count: Int, to type: ElementType, _ out: UnsafeMutableRawPointer
    ) {
        switch type {
        case .bfloat16: Kernels.round(values, into: out.assumingMemoryBound(to: UInt16.self), count)
        case .float16:
            let halves = out.assumingMemoryBound(to: Float16.self)
            for index in 0..<count { halves[index] = Float16(values[index]) }
        default: out.copyMemory(from: values, byteCount: count * MemoryLayout<Float>.stride)
        }
    }

    func gradients(of tensors: TensorGradients) throws(PruneError) -> [FloatBuffer] { tensors.sums }
}

extension StoredTensor {
    /// All elements in fp32, row after row. Safe: the tensor holds them, checked when it was opened.
    fileprivate func widen(into out: UnsafeMutablePointer<Float>) {
        guard let base = bytes.baseAddress else { return }
        let columns = shape.last ?? 1
        guard rowStride != columns else { return Kernels.widen(base, elementType, into: out, elementCount) }
        for row in 0..<elementCount / max(columns, 1) {
            Kernels.widen(
                base + elementType.bytes(of: row * rowStride), elementType, into: out + row * columns, columns)
        }
    }
}
