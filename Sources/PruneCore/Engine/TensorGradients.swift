// SPDX-License-Identifier: Apache-2.0
/// The gradients of a loss with respect to whole tensors of a model, as running sums in fp32, laid out as the tensors are.
///
/// A tensor is known by the memory that it lies in, of which it is the only one: so a part of it, such as the keys of fused
/// projections or one expert, has its place in the gradient, and a matrix under two names has one gradient.
final class TensorGradients: WeightGradientSums {
    /// One for each tensor, in the order given.
    let sums: [FloatBuffer]
    private let places: [ObjectIdentifier: Int]

    /// Zeros. Each tensor lies in a `TensorMemory` of its own and is not quantised. Errors: `.memory`.
    init(_ tensors: [StoredTensor]) throws(PruneError) {
        var places: [ObjectIdentifier: Int] = [:]
        for (index, tensor) in tensors.enumerated() { places[ObjectIdentifier(tensor.owner)] = index }
        self.places = places
        sums = try tensors.map { tensor throws(PruneError) in try FloatBuffer(count: tensor.elementCount) }
        clear()
    }

    var compute: ComputeType? { nil }

    /// Makes all sums 0 again.
    func clear() {
        let stretch = 1 << 16
        for sum in sums {
            ThreadPool.forEach((sum.count + stretch - 1) / stretch) { piece, _ in
                let first = piece * stretch
                (sum.pointer + first).update(repeating: 0, count: min(stretch, sum.count - first))
            }
        }
    }

    func place(ofMatrix _: Int, _ weight: StoredMatrix) -> GradientPlace? {
        pointer(to: weight.tensor).map { GradientPlace(pointer: $0, stride: weight.stride) }
    }

    func place(of vector: StoredTensor) -> UnsafeMutablePointer<Float>? { pointer(to: vector) }

    /// The gradient of a part's first element; nil if the tensor is none of these.
    private func pointer(to part: StoredTensor) -> UnsafeMutablePointer<Float>? {
        guard let index = places[ObjectIdentifier(part.owner)], let memory = part.owner as? TensorMemory,
            let whole = memory.bytes.baseAddress, let own = part.bytes.baseAddress
        else { return nil }
        // Safe: a part lies in the memory of its tensor, and the sum has a float for every element.
        return sums[index].pointer + (own - UnsafeRawPointer(whole)) / part.elementType.blockBytes
    }
}
