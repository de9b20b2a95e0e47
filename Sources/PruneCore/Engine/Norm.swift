// SPDX-License-Identifier: Apache-2.0
/// A norm and its numbers as stored; see `NormPlan` for the formulas.
struct Norm: Sendable {
    let plan: NormPlan
    let gains: [StoredTensor]
    let bias: StoredTensor?
    /// Values that the gain has in all.
    let count: Int

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

/// A norm with its numbers in fp32, at work on rows of as many values as it has; `first` is where a head's own numbers
/// begin, if it has some.
struct PreparedNorm: Sendable {
    let kind: NormPlan.Kind
    let epsilon: Float
    let gain: FloatBuffer
    let bias: FloatBuffer?

    /// out = norm(x); `out` may be `x`.
    func apply(
        _ x: UnsafePointer<Float>, width: Int, first: Int = 0, into out: UnsafeMutablePointer<Float>
    ) {
        switch kind {
        case .rootMeanSquare:
            Kernels.scale(x, by: scale(x, width: width), times: gain.pointer + first, into: out, width)
            if let bias { Kernels.add(bias.pointer + first, to: out, width) }
        case .layer:
            guard let bias else { return }
            let mean = Kernels.mean(x, width)
            Kernels.layerNorm(
                x, mean: mean, scale: scale(x, about: mean, width: width), gain: gain.pointer + first,
                bias: bias.pointer + first, into: out, width)
        }
    }

    /// out = norm(x), rounded to bf16. `room` has `width` floats, of which a root-mean-square norm needs none.
    func apply(
        _ x: UnsafePointer<Float>, width: Int, rounding out: UnsafeMutablePointer<UInt16>,
        _ room: UnsafeMutablePointer<Float>
    ) {
        if kind == .rootMeanSquare, bias == nil {
            return Kernels.scale(x, by: scale(x, width: width), times: gain.pointer, into: out, width)
        }
        apply(x, width: width, into: room)
        Kernels.round(room, into: out, width)
    }

    /// Adds to `out` the gradient with respect to x, where dy is that with respect to norm(x).
    func addPullback(
        _ x: UnsafePointer<Float>, width: Int, first: Int = 0, of dy: UnsafePointer<Float>,
        to out: UnsafeMutablePointer<Float>
    ) {
        switch kind {
        case .rootMeanSquare:
            Kernels.addNormPullback(
                x, scale: scale(x, width: width), gain: gain.pointer + first, of: dy, to: out, width)
        case .layer:
            let mean = Kernels.mean(x, width)
            Kernels.addLayerNormPullback(
                x, mean: mean, scale: scale(x, about: mean, width: width), gain: gain.pointer + first, of: dy, to: out,
                width)
        }
    }

    /// 1 / sqrt(mean(x^2) + epsilon)
    private func scale(_ x: UnsafePointer<Float>, width: Int) -> Float {
        1 / (Kernels.sumOfSquares(x, width) / Float(width) + epsilon).squareRoot()
    }

    /// 1 / sqrt(variance(x) + epsilon)
    private func scale(_ x: UnsafePointer<Float>, about mean: Float, width: Int) -> Float {
        1 / (Kernels.sumOfSquares(x, about: mean, width) / Float(width) + epsilon).squareRoot()
    }
}
