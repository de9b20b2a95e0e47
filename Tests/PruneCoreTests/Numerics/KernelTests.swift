// SPDX-License-Identifier: Apache-2.0
import CKernels
import Testing

@testable import PruneCore

#if canImport(Glibc)
    import Glibc
#endif

/// Every CPU level of the loops that this machine can run, against plain arithmetic in double.
@Suite struct KernelTests {
    static let levels = Array(0...kernel_best_level())
    static let lengths = [1, 7, 31, 32, 33, 100, 1024, 1031]

    func values(_ count: Int, seed: Int) -> [Float] {
        (0..<count).map { Float(sin(Double($0 * 7 + seed) * 1.3) * 9) }
    }

    @Test(arguments: levels, lengths)
    func reductionsAgreeWithDouble(_ level: Int32, _ count: Int) {
        let x = values(count, seed: 1)
        let y = values(count, seed: 2)
        let wide = x.map(Double.init)
        let other = y.map(Double.init)
        let squares = wide.reduce(0) { $0 + $1 * $1 }
        let dot = zip(wide, other).reduce(0) { $0 + $1.0 * $1.1 }
        #expect(abs(Double(kernel_sum_squares(level, x, count)) - squares) <= 1e-6 * squares)
        #expect(abs(kernel_dot(level, x, y, count) - dot) <= 1e-12 * squares)
        #expect(abs(kernel_sum_absolute(level, x, count) - wide.reduce(0) { $0 + abs($1) }) <= 1e-12 * squares)
        let bits = x.map { UInt16(truncatingIfNeeded: $0.bitPattern >> 16) }
        let halves = bits.reduce(0) { $0 + abs(Double(Float(bitPattern: UInt32($1) << 16))) }
        #expect(abs(kernel_sum_absolute_bf16(level, bits, count) - halves) <= 1e-12 * halves)
        #expect(kernel_maximum(level, x, count) == x.max())
        let z = values(count, seed: 3)
        func same(_ norms: kernel_norms, _ vector: [Double]) {
            let squares = vector.reduce(0) { $0 + $1 * $1 }
            let absolutes = vector.reduce(0) { $0 + abs($1) }
            #expect(abs(norms.squares - squares) <= 1e-12 * squares)
            #expect(abs(norms.absolutes - absolutes) <= 1e-12 * absolutes)
        }
        func difference(_ from: [Float], _ to: [Float]) -> [Double] { zip(from, to).map { Double($1) - Double($0) } }
        let pair = kernel_pair(level, x, y, count)
        same(pair.before, wide)
        same(pair.after, other)
        same(pair.update, difference(x, y))
        let block = kernel_block(level, x, y, z, count)
        same(block.before, wide)
        same(block.middle, other)
        same(block.after, z.map(Double.init))
        same(block.attention, difference(x, y))
        same(block.feed_forward, difference(y, z))
        same(block.update, difference(x, z))
    }

    @Test(arguments: levels, lengths)
    func exponentialsAgreeWithDouble(_ level: Int32, _ count: Int) {
        let x = values(count, seed: 3)
        let top = Double(x.max() ?? 0)
        let exact = x.map { exp(Double($0) - top) }
        let sum = exact.reduce(0, +)
        #expect(abs(Double(kernel_sum_exp(level, x, Float(top), count)) - sum) <= 2e-6 * sum)
        var soft = x
        kernel_softmax(level, &soft, count)
        for (a, b) in zip(soft, exact) { #expect(abs(Double(a) - b / sum) <= 2e-6) }
        var silu = [Float](repeating: 2, count: count)
        kernel_silu_times(level, x, &silu, count)
        for (a, b) in zip(silu, x.map(Double.init)) {
            #expect(abs(Double(a) - 2 * b / (1 + exp(-b))) <= 1e-6 * (1 + abs(b)))
        }
        var gelu = [Float](repeating: 1, count: count)
        kernel_gelu_tanh_times(level, x, &gelu, count)
        for (a, b) in zip(gelu, x.map(Double.init)) {
            let inner = 0.7978845608028654 * (b + 0.044715 * b * b * b)
            #expect(abs(Double(a) - 0.5 * b * (1 + tanh(inner))) <= 1e-5 * (1 + abs(b)))
        }
    }

    @Test(arguments: levels)
    func exponentialsStayFiniteAtTheEnds(_ level: Int32) {
        let x: [Float] = [-1e30, -200, -87, 0, 88, 200]
        for value in x { #expect(kernel_sum_exp(level, [value], 0, 1).isFinite) }
        #expect(kernel_sum_exp(level, [-1e30], 0, 1) < 1e-37)
        #expect(kernel_sum_exp(level, [.nan], 0, 1).isNaN)
    }

    @Test(arguments: levels, lengths)
    func relativeEntropiesAgreeWithDouble(_ level: Int32, _ count: Int) {
        let x = values(count, seed: 3)
        let y = values(count, seed: 4)
        let top = x.max() ?? 0
        let sums = kernel_weighted_exp(level, x, y, top, count)
        let weights = x.map { exp(Double($0) - Double(top)) }
        let differences = zip(x, y).map { Double($0) - Double($1) }
        let size = zip(weights, differences).reduce(0) { $0 + $1.0 * abs($1.1) }
        #expect(abs(Double(sums.weight) - weights.reduce(0, +)) <= 2e-6 * weights.reduce(0, +))
        #expect(abs(Double(sums.sum) - zip(weights, differences).reduce(0) { $0 + $1.0 * $1.1 }) <= 2e-6 * size)
        #expect(kernel_weighted_exp(level, x, x, top, count).sum == 0)
    }

    /// From distributions that share nothing to such as differ in the fifth digit.
    @Test(arguments: levels, [100, 30, 9, 1, 0.1, 1e-2, 1e-3, 1e-4, 1e-5])
    func divergencesAgreeWithDouble(_ level: Int32, _ scale: Double) {
        for count in [2, 31, 100, 1031] {
            let x = values(count, seed: 5)
            let y = zip(x, values(count, seed: 6)).map { $0 + $1 * Float(scale) / 9 }
            let (p, q) = (logSoftmax(x.map(Double.init)), logSoftmax(y.map(Double.init)))
            let logSums = (logSumExp(x.map(Double.init)), logSumExp(y.map(Double.init)))
            let delta = Float(logSums.1 - logSums.0)
            let exact = zip(p, q).reduce(0.0) { sum, pair in
                // t^2 (p + q) / 8 and the next terms of its series, where the plain form has no digits left.
                let (t, s) = (pair.1 - pair.0, (exp(pair.0) + exp(pair.1)) / 2)
                if abs(t) < 1e-2 { return sum + s * (t * t / 4 - t * t * t * t / 32 + t * t * t * t * t * t / 288) }
                return sum + exp(pair.0) * log(exp(pair.0) / s) + exp(pair.1) * log(exp(pair.1) / s)
            }
            let found = Double(kernel_js_sum(level, x, y, Float(logSums.0), delta, count))
            #expect(abs(found - exact) <= 2e-5 * exact + 1e-11)
            #expect(kernel_js_sum(level, x, x, Float(logSums.0), 0, count) == 0)
        }
    }

    @Test(arguments: levels)
    func divergencesAtTheEnds(_ level: Int32) {
        // Two outcomes, the sure one another each time: ln 2 each.
        #expect(abs(kernel_js_sum(level, [0, -200], [-200, 0], 0, 0, 2) - Float(2 * log(2.0))) < 1e-6)
        #expect(kernel_js_sum(level, [0, -1e30], [0, -2e30], 0, 0, 2) < 1e-36)
        #expect(kernel_js_sum(level, [.nan], [0], 0, 0, 1).isNaN)
        #expect(kernel_js_sum(level, [0], [.nan], 0, 0, 1).isNaN)
        #expect(kernel_js_sum(level, [0], [0], .nan, 0, 1).isNaN)
        #expect(kernel_js_sum(level, [0], [0], 0, .nan, 1).isNaN)
    }

    @Test(arguments: levels)
    func halfPrecisionWidensExactly(_ level: Int32) {
        let bits = (0...UInt16.max).map { $0 }
        var wide = [Float](repeating: 0, count: bits.count)
        kernel_widen_bf16(level, bits, &wide, bits.count)
        for (pattern, value) in zip(bits, wide) { #expect(value.bitPattern == UInt32(pattern) << 16) }
        kernel_widen_fp16(level, bits, &wide, bits.count)
        for (pattern, value) in zip(bits, wide) {
            let exponent = Int(pattern >> 10 & 31)
            let fraction = Double(pattern & 1023)
            let sign = pattern >> 15 == 1 ? -1.0 : 1.0
            switch exponent {
            case 31: #expect(fraction == 0 ? Double(value) == sign * .infinity : value.isNaN)
            case 0: #expect(Double(value) == sign * fraction * 0x1p-24)
            default: #expect(Double(value) == sign * (1 + fraction / 1024) * pow(2, Double(exponent - 15)))
            }
        }
    }

    @Test(arguments: levels)
    func rotationTurnsPairs(_ level: Int32) {
        var x = values(10, seed: 4)
        let before = x
        let angles = (0..<5).map { Double($0) * 0.7 }
        kernel_rotate(level, &x, angles.map { Float(cos($0)) }, angles.map { Float(sin($0)) }, 5)
        for i in 0..<5 {
            let (a, b) = (Double(before[i]), Double(before[i + 5]))
            #expect(abs(Double(x[i]) - (a * cos(angles[i]) - b * sin(angles[i]))) < 1e-5)
            #expect(abs(Double(x[i + 5]) - (b * cos(angles[i]) + a * sin(angles[i]))) < 1e-5)
        }
    }
}
