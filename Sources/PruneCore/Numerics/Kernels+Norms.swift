// SPDX-License-Identifier: Apache-2.0
internal import CKernels

/// The loops of norms; see `Norm` for the formulas.
extension Kernels {
    /// Adds the gradient of a root-mean-square norm at x to `out`: dy is that of its output, `scale` is
    /// 1 / sqrt(mean(x^2) + epsilon). No two of the pointers are the same memory.
    static func addNormPullback(
        _ x: UnsafePointer<Float>, scale: Float, gain: UnsafePointer<Float>, of dy: UnsafePointer<Float>,
        to out: UnsafeMutablePointer<Float>, _ count: Int
    ) {
        kernel_norm_pullback(level, x, scale, gain, dy, out, count)
    }

    static func mean(_ x: UnsafePointer<Float>, _ count: Int) -> Float { kernel_sum(level, x, count) / Float(count) }

    /// Sum of (x[i] - mean)^2, in fp32 lanes.
    static func sumOfSquares(_ x: UnsafePointer<Float>, about mean: Float, _ count: Int) -> Float {
        kernel_sum_squares_about(level, x, mean, count)
    }

    /// out[i] = (x[i] - mean) * scale * gain[i] + bias[i]; `out` may be `x`.
    static func layerNorm(
        _ x: UnsafePointer<Float>, mean: Float, scale: Float, gain: UnsafePointer<Float>, bias: UnsafePointer<Float>,
        into out: UnsafeMutablePointer<Float>, _ count: Int
    ) {
        kernel_layer_norm(level, x, mean, scale, gain, bias, out, count)
    }

    /// Adds the gradient of that norm at x to `out`. No two of the pointers are the same memory.
    static func addLayerNormPullback(
        _ x: UnsafePointer<Float>, mean: Float, scale: Float, gain: UnsafePointer<Float>, of dy: UnsafePointer<Float>,
        to out: UnsafeMutablePointer<Float>, _ count: Int
    ) {
        kernel_layer_norm_pullback(level, x, mean, scale, gain, dy, out, count)
    }
}
