// SPDX-License-Identifier: Apache-2.0
import CKernels
import Testing

@testable import PruneCore

#if canImport(Glibc)
    import Glibc
#endif

/// Loops of activations against plain arithmetic in double, at every CPU level of this machine.
@Suite struct ActivationLoopTests {
    typealias Loop = (Int32, UnsafePointer<Float>, UnsafeMutablePointer<Float>, Int) -> Void
    typealias Pullback = (
        Int32, UnsafePointer<Float>, UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>, Int
    ) -> Void

    static let lengths = [1, 7, 32, 33, 1031]

    static func phi(_ x: Double) -> Double { erfc(-x / 2.0.squareRoot()) / 2 }

    static func inner(_ count: Int) -> [Float] { GradientTests.values(count, seed: 3).map { 3 * $0 } }

    func check(
        _ level: Int32, _ count: Int, _ loop: Loop, _ pullback: Pullback, tolerance: Double,
        _ activation: (Double) -> Double, _ slope: (Double) -> Double
    ) {
        let x = Self.inner(count)
        let (d, up) = (GradientTests.values(count, seed: 1), GradientTests.values(count, seed: 2))
        var out = up
        loop(level, x, &out, count)
        var (gates, ups) = (x, up)
        pullback(level, d, &gates, &ups, count)
        for index in 0..<count {
            let (d, x, up) = (Double(d[index]), Double(x[index]), Double(up[index]))
            let size = 1 + abs(x) * max(1, abs(activation(x)) / (abs(x) + 1))
            #expect(abs(Double(out[index]) - up * activation(x)) <= tolerance * abs(up) * size)
            #expect(abs(Double(ups[index]) - d * activation(x)) <= tolerance * abs(d) * size)
            #expect(abs(Double(gates[index]) - d * up * slope(x)) <= 4 * tolerance * abs(d * up) * size)
        }
    }

    @Test(arguments: KernelTests.levels, lengths)
    func geluIsThatOfTheErrorFunction(_ level: Int32, _ count: Int) {
        check(level, count, kernel_gelu_times, kernel_gelu_pullback, tolerance: 2e-7 * 2) {
            $0 * Self.phi($0)
        } _: {
            Self.phi($0) + $0 * normalDensity($0)
        }
    }

    /// Phi over all of its range, and nothing but the value itself or 0 beyond it. A CPU that rounds each product and sum by
    /// itself is a little further off.
    @Test(arguments: KernelTests.levels)
    func theNormalDistributionHasSixDigits(_ level: Int32) {
        let x = stride(from: Float(-12), through: 12, by: 1 / 64).map { $0 }
        var out = [Float](repeating: 1, count: x.count)
        kernel_gelu_times(level, x, &out, x.count)
        for (x, y) in zip(x.map(Double.init), out.map(Double.init)) where x != 0 {
            #expect(abs(y / x - Self.phi(x)) <= (level == 0 ? 2.5e-7 : 2e-7), "at \(x)")
        }
        #expect(abs(out[0]) < 1e-30 && out.last == 12)
    }

    @Test(arguments: KernelTests.levels, lengths)
    func reluAndItsSquareByHand(_ level: Int32, _ count: Int) {
        check(level, count, kernel_relu_times, kernel_relu_pullback, tolerance: 1e-7) {
            max($0, 0)
        } _: {
            $0 > 0 ? 1 : 0
        }
        check(level, count, kernel_relu_squared_times, kernel_relu_squared_pullback, tolerance: 2e-7) {
            $0 > 0 ? $0 * $0 : 0
        } _: {
            $0 > 0 ? 2 * $0 : 0
        }
    }

    /// (up held within +-limit, + 1) * g * sigmoid(slope * g), g = min(gate, limit): gates below -limit are not held.
    @Test(arguments: KernelTests.levels, lengths)
    func theClampedUnitAndItsGradients(_ level: Int32, _ count: Int) {
        let (limit, steepness) = (2.5, 1.702)
        let x = Self.inner(count)
        let up = GradientTests.values(count, seed: 2).map { 2 * $0 }
        let d = GradientTests.values(count, seed: 1)
        func unit(_ gate: Double, _ up: Double) -> Double {
            let g = min(gate, limit)
            return (min(max(up, -limit), limit) + 1) * g / (1 + exp(-steepness * g))
        }
        var out = up
        kernel_clamped_times(level, x, &out, Float(limit), Float(steepness), count)
        var (gates, ups) = (x, up)
        kernel_clamped_pullback(level, d, &gates, &ups, Float(limit), Float(steepness), count)
        for index in 0..<count {
            let (d, x, up) = (Double(d[index]), Double(x[index]), Double(up[index]))
            #expect(abs(Double(out[index]) - unit(x, up)) <= 2e-6 * (1 + abs(x)) * (1 + abs(up)))
            // No value lies so near a limit that a difference would cross it.
            let step = 1e-6
            let ofGate = (unit(x + step, up) - unit(x - step, up)) / (2 * step)
            let ofUp = (unit(x, up + step) - unit(x, up - step)) / (2 * step)
            #expect(abs(Double(gates[index]) - d * ofGate) <= 5e-6 * (1 + abs(d * ofGate)))
            #expect(abs(Double(ups[index]) - d * ofUp) <= 5e-6 * (1 + abs(d * ofUp)))
        }
    }

    @Test(arguments: KernelTests.levels)
    func whatIsNotANumberStaysSo(_ level: Int32) {
        let count = 33
        var gate = [Float](repeating: 0.5, count: count)
        gate[3] = .nan
        gate[32] = .nan
        let loops: [Loop] = [
            kernel_silu_times, kernel_gelu_tanh_times, kernel_gelu_times, kernel_relu_times, kernel_relu_squared_times,
            { kernel_clamped_times($0, $1, $2, 7, 1.702, $3) },
        ]
        for loop in loops {
            var up = [Float](repeating: 1, count: count)
            loop(level, gate, &up, count)
            #expect(up.indices.filter { up[$0].isNaN } == [3, 32])
        }
        var up = gate
        kernel_clamped_times(level, [Float](repeating: 1, count: count), &up, 7, 1.702, count)
        #expect(up.indices.filter { up[$0].isNaN } == [3, 32])
    }
}
