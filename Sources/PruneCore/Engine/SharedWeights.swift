// SPDX-License-Identifier: Apache-2.0
/// A weight that is stored as that of an earlier sublayer and a delta of low rank (DeltaLLM, arXiv 2501.18596):
///
///     W = scale * base + up * down
///
/// The engine computes with W as a whole, in fp32, so that it computes what a runtime does which adds the two products.
struct SharedTensor: Sendable {
    let sublayer: Int
    let baseSublayer: Int
    let projection: StoredProjection
    /// Name of the tensor that is stored.
    let base: String
    /// 1, unless it was fitted.
    let scale: Float
    /// outputs x rank and rank x inputs, whichever way round the weight itself is stored; nil = the weight is the base.
    let factors: (up: StoredTensor, down: StoredTensor)?
    /// sqrt(E |(W' - W) x|^2 / E |W' x|^2) over tokens, with W' the weight that W stands for, when the delta was solved; without
    /// tokens, the same of the matrices. nil = it is not known, or the delta was trained since.
    let error: Double?
    /// What W' was stored in; the factors are stored in it, too, or in bf16 if it has blocks.
    let elementType: ElementType
    /// Bytes of W' as stored.
    let wholeBytes: Int

    var rank: Int { factors?.up.shape[1] ?? 0 }
    /// Bytes and elements of the factors.
    var byteCount: Int { factors.map { $0.up.byteCount + $0.down.byteCount } ?? 0 }
    var elementCount: Int { factors.map { $0.up.elementCount + $0.down.elementCount } ?? 0 }

    /// What factors are stored in beside weights of a type.
    static func factorType(_ type: ElementType) -> ElementType { type.isQuantised ? .bfloat16 : type }
}

extension SharedTensor {
    /// W in fp32, row-major as W' was stored. Errors: `.memory`; `.file` if the base lies in a file that changed.
    func materialised(from base: StoredTensor) throws(PruneError) -> TensorMemory {
        let name = projection.tensor
        let memory = try TensorMemory(
            byteCount: base.elementCount.times(clamping: MemoryLayout<Float>.stride), for: "tensor \(name.quoted)")
        let factors = try factors.map { own throws(PruneError) in
            (up: try own.up.widened(), down: try own.down.widened())
        }
        try write(into: memory, base, factors)
        return memory
    }

    /// Writes scale * base + up * down into the memory of W. Errors: `.file` if the base lies in a file that changed.
    func write(
        into memory: TensorMemory, _ base: StoredTensor, _ factors: (up: [Float], down: [Float])?
    ) throws(PruneError) {
        let (rows, columns) = (projection.shape[0], projection.shape[1])
        guard let out = memory.floats.baseAddress, memory.floats.count == rows * columns else { return }
        try reading(base.mappedFile.map { [$0] } ?? []) {
            StoredMatrix(base, rows: rows, columns: columns).widen(first: 0, count: rows, into: out)
        }
        if scale != 1 { for index in 0..<rows * columns { out[index] *= scale } }
        guard let factors else { return }
        let (outputs, inputs) = (projection.outputs, projection.inputs)
        let rank = factors.up.count / max(outputs, 1)
        guard rank > 0 else { return }
        try BLAS.products { () throws(PruneError) in
            factors.up.withUnsafeBufferPointer { up in
                factors.down.withUnsafeBufferPointer { down in
                    // Safe: up is outputs x rank and down rank x inputs, and out holds outputs x inputs values.
                    guard let up = up.baseAddress, let down = down.baseAddress else { return }
                    if projection.isTransposed {
                        BLAS.addTransposingBoth(
                            m: inputs, n: outputs, k: rank, down, inputs, up, rank, to: out, outputs)
                    } else {
                        BLAS.multiply(
                            m: outputs, n: inputs, k: rank, up, rank, down, inputs, beta: 1, out, inputs)
                    }
                }
            }
        }
    }
}

extension StoredTensor {
    /// All elements of a matrix in fp32, row-major. Errors: `.file` if it lies in a file that changed; `.memory`.
    func widened() throws(PruneError) -> [Float] {
        let (rows, columns) = (shape[0], shape[1])
        try Memory.require(elementCount.times(clamping: 4), for: "tensor \(name.quoted)", "end other work first")
        var values = [Float](repeating: 0, count: rows * columns)
        try reading(mappedFile.map { [$0] } ?? []) {
            values.withUnsafeMutableBufferPointer { out in
                if let base = out.baseAddress {
                    StoredMatrix(self, rows: rows, columns: columns).widen(first: 0, count: rows, into: base)
                }
            }
        }
        return values
    }

    /// A tensor of the library's own with values rounded to a type without blocks. Errors: `.memory`; `.nonFinite` for a value
    /// that the type cannot hold.
    static func rounding(
        _ name: String, _ values: [Float], to type: ElementType, shape: [Int]
    ) throws(PruneError) -> StoredTensor {
        let memory = try TensorMemory(
            byteCount: type.bytes(of: values.count), for: "tensor \(name.quoted)")
        switch type {
        case .float32: _ = memory.floats.update(fromContentsOf: values)
        case .float16:
            let out = memory.bytes.bindMemory(to: Float16.self)
            for (index, value) in values.enumerated() { out[index] = Float16(value) }
            guard out.allSatisfy(\.isFinite) else {
                throw PruneError(
                    .nonFinite, "tensor \(name.quoted) holds a value that fp16 cannot hold; store the model in bf16")
            }
        case .bfloat16:
            let out = memory.bytes.bindMemory(to: UInt16.self)
            values.withUnsafeBufferPointer { values in
                // Safe: both hold as many values.
                if let from = values.baseAddress, let to = out.baseAddress {
                    Kernels.round(from, into: to, values.count)
                }
            }
        default: throw PruneError(.internal, "tensor \(name.quoted) is to be rounded to \(type.rawValue)")
        }
        return memory.tensor(name, type, shape: shape)
    }
}

/// The weights of a model that are stored as deltas, by name of the tensor.
struct SharedWeights: Sendable {
    var tensors: [String: SharedTensor] = [:]

    static let none = SharedWeights()

    var isEmpty: Bool { tensors.isEmpty }

    /// What a tensor of the model is stored in, where it is not computed with.
    func storedType(of tensor: StoredTensor) -> ElementType {
        tensors[tensor.name].map { SharedTensor.factorType($0.elementType) } ?? tensor.elementType
    }

    func byteCount(of tensor: StoredTensor) -> Int { tensors[tensor.name]?.byteCount ?? tensor.byteCount }

    func elementCount(of tensor: StoredTensor) -> Int { tensors[tensor.name]?.elementCount ?? tensor.elementCount }

    /// Those that hold where some tensors have become others.
    func without(_ names: Set<String>) -> SharedWeights {
        SharedWeights(tensors: tensors.filter { !names.contains($0.key) && !names.contains($0.value.base) })
    }
}

extension SharedWeights {
    /// What a checkpoint stores as deltas, and its tensors with the weights that these stand for.
    ///
    /// Errors: those of tensors, which name the one at fault; `.format` for a factor that is not finite; `.memory`.
    static func opened(
        _ config: ModelConfig, _ tensors: TensorTable
    ) throws(PruneError) -> (tensors: TensorTable, sharing: SharedWeights) {
        guard !config.absent.shared.isEmpty else { return (tensors, .none) }
        var sharing = SharedWeights()
        var own: [StoredTensor] = []
        for form in config.absent.shared {
            let name = form.projection.tensor
            let base = try tensors.tensor(form.base, shape: form.projection.shape)
            func factor(_ part: String, _ shape: [Int]) throws(PruneError) -> StoredTensor {
                let found = try tensors.tensor(SharedForm.factorName(part, of: name), shape: shape)
                guard try found.widened().allSatisfy(\.isFinite) else {
                    throw PruneError(
                        .format, "\(tensors.source): tensor \(found.name.quoted) has a value that is not finite")
                }
                return found
            }
            let shared = SharedTensor(
                sublayer: form.sublayer, baseSublayer: form.baseSublayer, projection: form.projection, base: form.base,
                scale: form.scale,
                factors: form.rank == 0
                    ? nil
                    : (
                        up: try factor("up", [form.projection.outputs, form.rank]),
                        down: try factor("down", [form.rank, form.projection.inputs])
                    ),
                error: form.error, elementType: base.elementType, wholeBytes: base.byteCount)
            own.append(try shared.materialised(from: base).tensor(name, .float32, shape: form.projection.shape))
            sharing.tensors[name] = shared
        }
        return (tensors.replacing(own), sharing)
    }
}
