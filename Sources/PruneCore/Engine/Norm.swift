// SPDX-License-Identifier: Apache-2.0
/// A norm and its numbers as stored; see `NormPlan` for the formulas.
struct Norm: Sendable {
    let plan: NormPlan
    let gains: [StoredTensor]
    let bias: StoredTensor?
    /// Values that the gain has in all.
    let count: Int

    /// What it is stored in.
    var tensors: [StoredTensor] { gains + (bias.map { [$0] } ?? []) }

    /// The numbers in fp32, widened anew for every use: they are few, and a host that lends its weights may change them.
    ///
    /// Errors: `.memory`.
    func prepared(_ scratch: BufferPool) throws(PruneError) -> PreparedNorm {
        let gain = try scratch.buffer(count)
        if gains.isEmpty {
            gain.pointer.update(repeating: plan.factor, count: count)
        } else {
            var first = 0
            for tensor in gains {
                guard let base = tensor.bytes.baseAddress else { continue }
                Kernels.widen(base, tensor.elementType, into: gain.pointer + first, tensor.elementCount)
                first += tensor.elementCount
            }
            if plan.offset != 0 || plan.factor != 1 {
                for index in 0..<count { gain.pointer[index] = plan.factor * (plan.offset + gain.pointer[index]) }
            }
        }
        return PreparedNorm(kind: plan.kind, epsilon: plan.epsilon, gain: gain, bias: try preparedBias(scratch))
    }

    /// nil for a root-mean-square norm without bias; a layer norm has at least zeros.
    private func preparedBias(_ scratch: BufferPool) throws(PruneError) -> FloatBuffer? {
        guard bias != nil || plan.kind == .layer else { return nil }
        let values = try scratch.buffer(count)
        guard let bias, let base = bias.bytes.baseAddress else {
            values.pointer.update(repeating: 0, count: count)
            return values
        }
        Kernels.widen(base, bias.elementType, into: values.pointer, count)
        if plan.factor != 1 { for index in 0..<count { values.pointer[index] *= plan.factor } }
        return values
    }
}
