// SPDX-License-Identifier: Apache-2.0
internal import CKernels

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// The loops of `CKernels` at the level of this CPU, or at the lower one that the environment asks for.
///
/// Every function takes pointers to as many elements as it is told; callers pass memory that they own or borrow for the
/// length of the call.
enum Kernels {
    /// The environment variable that names a level, to compute as a lesser CPU does. Read once.
    static let environmentVariable = "PRUNECORE_LOOPS"

    private static let names = ["baseline", "avx2", "avx512"]

    private static let choice = Result { () throws(PruneError) in
        try level(named: getenv(environmentVariable).map { String(cString: $0) }, best: kernel_best_level())
    }

    static let level = (try? choice.get()) ?? kernel_best_level()

    static var levelName: String { names[Int(level)] }

    /// Errors: as `level(named:best:)`, for the environment as it was when the first loop ran.
    static func checkEnvironment() throws(PruneError) { _ = try choice.get() }

    /// The level that the environment variable's value names; nil or "" = the best.
    ///
    /// Errors: `.argument` for a value that names no level; `.unsupported` for a level above `best`.
    static func level(named value: String?, best: Int32) throws(PruneError) -> Int32 {
        guard let value, !value.isEmpty else { return best }
        guard let level = names.firstIndex(of: value) else {
            throw PruneError(
                .argument,
                "\(environmentVariable) is \(value.quoted); it must be baseline, avx2 or avx512, or be unset")
        }
        guard level <= best else {
            throw PruneError(
                .unsupported,
                "\(environmentVariable) is \(value), but this CPU has no instructions for it; unset it, or set it to \(names[Int(best)])"
            )
        }
        return Int32(level)
    }

    /// Sum of x[i]^2, in fp32 lanes.
    static func sumOfSquares(_ x: UnsafePointer<Float>, _ count: Int) -> Float {
        kernel_sum_squares(level, x, count)
    }

    /// Sum of x[i] * y[i], in double.
    static func dot(_ x: UnsafePointer<Float>, _ y: UnsafePointer<Float>, _ count: Int) -> Double {
        kernel_dot(level, x, y, count)
    }

    /// out[row * outStride + output] = sum of stored[output * stride + i] * x[row * xStride + i], in fp32 lanes, for 1 to 4
    /// rows of x. `stored` holds `outputs` rows of `count` elements of the type, whole blocks, and may be unaligned.
    static func dot(
        _ stored: UnsafeRawPointer, _ type: ElementType, outputs: Int, stride: Int, _ x: UnsafePointer<Float>,
        stride xStride: Int, rows: Int, _ count: Int, into out: UnsafeMutablePointer<Float>, stride outStride: Int
    ) {
        kernel_dot_rows(level, type.kernelType, stored, outputs, stride, x, xStride, rows, count, out, outStride)
    }

    /// Sum of |x[i]|, in double.
    static func sumOfAbsolutes(_ x: UnsafePointer<Float>, _ count: Int) -> Double {
        kernel_sum_absolute(level, x, count)
    }

    /// The same of `count` bf16 values.
    static func sumOfAbsolutes(bf16 x: UnsafePointer<UInt16>, _ count: Int) -> Double {
        kernel_sum_absolute_bf16(level, x, count)
    }

    /// Sum of |x[i] * y[i]|, in double.
    static func sumOfAbsoluteProducts(_ x: UnsafePointer<Float>, _ y: UnsafePointer<Float>, _ count: Int) -> Double {
        kernel_sum_absolute_products(level, x, y, count)
    }

    /// out[i] = x[i] * scale * weight[i]; `out` may be `x`.
    static func scale(
        _ x: UnsafePointer<Float>, by scale: Float, times weight: UnsafePointer<Float>,
        into out: UnsafeMutablePointer<Float>, _ count: Int
    ) {
        kernel_scale_by(level, x, scale, weight, out, count)
    }

    /// out[i] = bf16(x[i] * scale * weight[i])
    static func scale(
        _ x: UnsafePointer<Float>, by scale: Float, times weight: UnsafePointer<Float>,
        into out: UnsafeMutablePointer<UInt16>, _ count: Int
    ) {
        kernel_scale_by_bf16(level, x, scale, weight, out, count)
    }

    /// out[i] = bf16(x[i] * scale)
    static func round(
        _ x: UnsafePointer<Float>, times scale: Float = 1, into out: UnsafeMutablePointer<UInt16>, _ count: Int
    ) {
        kernel_round_bf16(level, x, scale, out, count)
    }

    /// out[i] += x[i]
    static func add(_ x: UnsafePointer<Float>, to out: UnsafeMutablePointer<Float>, _ count: Int) {
        kernel_add(level, x, out, count)
    }

    /// out[i] += scale * x[i]
    static func add(_ x: UnsafePointer<Float>, times scale: Float, to out: UnsafeMutablePointer<Float>, _ count: Int) {
        kernel_add_scaled(level, x, scale, out, count)
    }

    /// A step of AdamW on `count` parameters with their moments; see `AdamW`. No two of the pointers are the same memory.
    static func stepAdamW(
        _ parameters: UnsafeMutablePointer<Float>, _ first: UnsafeMutablePointer<Float>,
        _ second: UnsafeMutablePointer<Float>, _ gradient: UnsafePointer<Float>, _ count: Int,
        _ rates: kernel_adamw_rates
    ) {
        kernel_adamw(level, parameters, first, second, gradient, count, rates)
    }

    /// out[i] = x[i] * scale * weight[i], in double; sum[i] += out[i].
    static func widen(
        _ x: UnsafePointer<Float>, by scale: Double, times weight: UnsafePointer<Float>,
        into out: UnsafeMutablePointer<Double>, addingTo sum: UnsafeMutablePointer<Double>, _ count: Int
    ) {
        kernel_widen_scaled(level, x, scale, weight, out, sum, count)
    }

    /// out[i] = x[i] - y[i], in double; sum[i] += out[i].
    static func widenDifference(
        _ x: UnsafePointer<Float>, _ y: UnsafePointer<Float>, into out: UnsafeMutablePointer<Double>,
        addingTo sum: UnsafeMutablePointer<Double>, _ count: Int
    ) {
        kernel_widen_difference(level, x, y, out, sum, count)
    }

    /// x[i] -= mean[i]; the sum of the squares of what is left.
    static func centre(
        _ x: UnsafeMutablePointer<Double>, about mean: UnsafePointer<Double>, _ count: Int
    ) -> Double {
        kernel_centre(level, mean, x, count)
    }

    /// out[i] -= x[i]
    static func subtract(_ x: UnsafePointer<Float>, from out: UnsafeMutablePointer<Float>, _ count: Int) {
        kernel_subtract(level, x, out, count)
    }

    /// out[i] = bf16(exp(scale * (x[i] - largest))); returns the sum of the exponentials. `count` >= 1.
    static func exponentials(
        _ x: UnsafePointer<Float>, scale: Float, into out: UnsafeMutablePointer<UInt16>, _ count: Int
    ) -> Float {
        kernel_exponentials_bf16(level, x, scale, out, count)
    }

    /// Largest of `count` >= 1 values.
    static func maximum(_ x: UnsafePointer<Float>, _ count: Int) -> Float {
        kernel_maximum(level, x, count)
    }

    /// Sum of exp(x[i] - shift).
    static func sumOfExponentials(_ x: UnsafePointer<Float>, shift: Float, _ count: Int) -> Float {
        kernel_sum_exp(level, x, shift, count)
    }

    /// Sums of e[i] and of e[i] * (x[i] - y[i]), with e[i] = exp(x[i] - shift).
    static func sumsOfExponentials(
        _ x: UnsafePointer<Float>, weighing y: UnsafePointer<Float>, shift: Float, _ count: Int
    ) -> (weight: Float, sum: Float) {
        let sums = kernel_weighted_exp(level, x, y, shift, count)
        return (sums.weight, sums.sum)
    }

    /// What the outcomes of these logits add to twice the Jensen-Shannon divergence of two distributions. `logSum` is the
    /// log-sum-exp of all of x, `delta` that of y less that of x.
    static func divergence(
        _ x: UnsafePointer<Float>, _ y: UnsafePointer<Float>, logSum: Float, delta: Float, _ count: Int
    ) -> Float {
        kernel_js_sum(level, x, y, logSum, delta, count)
    }

    /// out[i] = scale * exp(x[i] - shift); `out` may be `x`.
    static func exponentials(
        _ x: UnsafePointer<Float>, shift: Float, times scale: Float, into out: UnsafeMutablePointer<Float>, _ count: Int
    ) {
        kernel_scaled_exp(level, x, shift, scale, out, count)
    }

    /// x[i] = scale * exp(x[i] - shift) - (the same of y)
    static func subtractExponentials(
        _ x: UnsafeMutablePointer<Float>, shift: Float, times scale: Float, less y: UnsafePointer<Float>,
        shift yShift: Float, times yScale: Float, _ count: Int
    ) {
        kernel_exp_difference(level, x, shift, scale, y, yShift, yScale, count)
    }

    /// Sum of exp(x[i] - shift) * log(q[i] / m[i]) with q the softmax of x, p that of y and m = (p + q) / 2; `delta` is the
    /// log-sum-exp of all of x less that of y.
    static func sumOfLogShares(
        _ x: UnsafePointer<Float>, _ y: UnsafePointer<Float>, shift: Float, delta: Float, _ count: Int
    ) -> Float {
        kernel_js_log_sum(level, x, y, shift, delta, count)
    }

    /// x[i] = scale * exp(x[i] - shift) * (log(q[i] / m[i]) - mean), with q and m as above.
    static func logShares(
        _ x: UnsafeMutablePointer<Float>, _ y: UnsafePointer<Float>, shift: Float, times scale: Float, delta: Float,
        less mean: Float, _ count: Int
    ) {
        kernel_js_slope(level, x, y, shift, scale, delta, mean, count)
    }

    /// Softmax over `count` >= 1 values, in place.
    static func softmax(_ x: UnsafeMutablePointer<Float>, _ count: Int) {
        kernel_softmax(level, x, count)
    }

    /// From the gradient d of probabilities = softmax(scale * x): puts that with respect to x in its place.
    static func softmaxPullback(
        _ probabilities: UnsafePointer<Float>, _ d: UnsafeMutablePointer<Float>, scale: Float, _ count: Int
    ) {
        kernel_softmax_pullback(level, probabilities, d, scale, count)
    }

    /// probabilities = bf16(softmax(x)), and out = bf16(scale * the gradient with respect to x), where d is that with
    /// respect to the probabilities. Uses x up; `count` >= 1.
    static func softmaxPullback(
        _ x: UnsafeMutablePointer<Float>, _ d: UnsafePointer<Float>, scale: Float,
        probabilities: UnsafeMutablePointer<UInt16>, into out: UnsafeMutablePointer<UInt16>, _ count: Int
    ) {
        kernel_softmax_pullback_bf16(level, x, d, scale, probabilities, out, count)
    }

    /// Widens stored elements to fp32. `source` holds `count` elements of the type, from the first of a block on, and may be
    /// unaligned.
    static func widen(
        _ source: UnsafeRawPointer, _ type: ElementType, into out: UnsafeMutablePointer<Float>, _ count: Int
    ) {
        switch type {
        case .float32:
            UnsafeMutableRawPointer(out).copyMemory(from: source, byteCount: count * 4)
        // Safe: x86-64 and arm64 read unaligned 16-bit elements, and the loops assume no alignment.
        case .bfloat16: kernel_widen_bf16(level, source.assumingMemoryBound(to: UInt16.self), out, count)
        case .float16: kernel_widen_fp16(level, source.assumingMemoryBound(to: UInt16.self), out, count)
        default: kernel_widen_quantised(level, type.kernelType, source, 0, count, out)
        }
    }

    /// Widens some elements of a stored row, which may begin and end within blocks.
    static func widen(
        _ elements: Range<Int>, ofRow row: UnsafeRawPointer, _ type: ElementType, into out: UnsafeMutablePointer<Float>
    ) {
        if type.isQuantised {
            kernel_widen_quantised(level, type.kernelType, row, elements.lowerBound, elements.count, out)
        } else {
            widen(row + type.bytes(of: elements.lowerBound), type, into: out, elements.count)
        }
    }
}

extension ElementType {
    /// The number that the loops know it by.
    var kernelType: Int32 {
        let stored =
            switch self {
            case .bfloat16: STORED_BF16
            case .float16: STORED_FP16
            case .float32: STORED_FP32
            case .q8_0: STORED_Q8_0
            case .q4_0: STORED_Q4_0
            case .q4_1: STORED_Q4_1
            case .q5_0: STORED_Q5_0
            case .q5_1: STORED_Q5_1
            case .q2K: STORED_Q2_K
            case .q3K: STORED_Q3_K
            case .q4K: STORED_Q4_K
            case .q5K: STORED_Q5_K
            case .q6K: STORED_Q6_K
            case .q8K: STORED_Q8_K
            case .iq4NL: STORED_IQ4_NL
            case .iq4XS: STORED_IQ4_XS
            case .mxfp4: STORED_MXFP4
            }
        return Int32(stored)
    }
}
