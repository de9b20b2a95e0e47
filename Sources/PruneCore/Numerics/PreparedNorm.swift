// SPDX-License-Identifier: Apache-2.0
/// The formula of a norm.
///
///     rootMeanSquare: x -> gain * x / sqrt(mean(x^2) + epsilon) + bias
///     layer:          x -> gain * (x - mean(x)) / sqrt(variance(x) + epsilon) + bias
public enum NormKind: Sendable {
    case rootMeanSquare
    case layer

    var name: String {
        switch self {
        case .rootMeanSquare: "rms"
        case .layer: "layer"
        }
    }
}

/// A norm with its numbers in fp32, at work on rows of as many values as it has; `first` is where a head's own numbers
/// begin, if it has some.
struct PreparedNorm: Sendable {
    let kind: NormKind
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

    /// What is taken from the values of x, and what they are then multiplied by.
    func moments(_ x: UnsafePointer<Float>, width: Int) -> (mean: Float, scale: Float) {
        switch kind {
        case .rootMeanSquare: return (0, scale(x, width: width))
        case .layer:
            let mean = Kernels.mean(x, width)
            return (mean, scale(x, about: mean, width: width))
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

extension PreparedNorm {
    /// out = the gradients with respect to rows of x, from those with respect to their norms.
    func pullback(_ x: FloatBuffer, width: Int, of dy: FloatBuffer, into out: FloatBuffer) {
        forEachPiece(of: x.count / width) { rows in
            for row in rows {
                let place = row * width
                (out.pointer + place).update(repeating: 0, count: width)
                addPullback(x.pointer + place, width: width, of: dy.pointer + place, to: out.pointer + place)
            }
        }
    }

    /// Norms rows in place.
    func applyToRows(of x: FloatBuffer, width: Int) {
        forEachPiece(of: x.count / width) { rows in
            for row in rows { apply(x.pointer + row * width, width: width, into: x.pointer + row * width) }
        }
    }

    /// Whether its rounded results are made of fp32 ones.
    var needsRoom: Bool { kind != .rootMeanSquare || bias != nil }
}
