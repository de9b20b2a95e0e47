// SPDX-License-Identifier: Apache-2.0
import CKernels
import Testing

@testable import PruneCore

#if canImport(Glibc)
    import Glibc
#endif

/// Loops of attention beside plain softmax, against plain arithmetic in double, at every CPU level of this machine.
@Suite struct AttentionLoopTests {
    static let lengths = [1, 7, 32, 33, 1031]

    @Test(arguments: KernelTests.levels, lengths)
    func softCapsAndTheirSlopes(_ level: Int32, _ count: Int) {
        for cap in [2.0, 50] {
            let x = GradientTests.values(count, seed: 1).map { 4 * $0 }
            var capped = x
            kernel_soft_cap(level, &capped, Float(cap), count)
            let given = GradientTests.values(count, seed: 2)
            var d = given
            kernel_soft_cap_pullback(level, capped, &d, Float(cap), count)
            for index in 0..<count {
                let exact = cap * tanh(Double(x[index]) / cap)
                #expect(abs(Double(capped[index]) - exact) <= 2e-7 * cap)
                let slope = 1 - exact * exact / (cap * cap)
                #expect(abs(Double(d[index]) - Double(given[index]) * slope) <= 1e-6 * abs(Double(given[index])))
            }
        }
    }

    @Test(arguments: KernelTests.levels)
    func capsHoldAtTheEnds(_ level: Int32) {
        var x: [Float] = [-1e30, -3000, 3000, 1e30, .nan]
        kernel_soft_cap(level, &x, 30, 5)
        #expect(x[..<4] == [-30, -30, 30, 30] && x[4].isNaN)
    }

    @Test(arguments: KernelTests.levels, lengths)
    func aSinkTakesItsShareOfSoftmax(_ level: Int32, _ count: Int) {
        let x = GradientTests.values(count, seed: 3).map { 3 * $0 }
        for sink in [Float(-40), 0, 2.5, 40] {
            var p = x
            kernel_softmax_beside(level, &p, sink, count)
            let top = Double(max(sink, x.max() ?? 0))
            let exact = x.map { exp(Double($0) - top) }
            let sum = exact.reduce(exp(Double(sink) - top), +)
            for (found, exact) in zip(p, exact) { #expect(abs(Double(found) - exact / sum) <= 2e-6) }
        }
        // One that counts for nothing leaves softmax.
        var (beside, plain) = (x, x)
        kernel_softmax_beside(level, &beside, -1e30, count)
        kernel_softmax(level, &plain, count)
        #expect(zip(beside, plain).allSatisfy { abs($0 - $1) <= 1e-6 * $1 })
    }

    @Test(arguments: KernelTests.levels, [1, 5, 8, 16, 21])
    func neighboursTurnAndTurnBack(_ level: Int32, _ half: Int) {
        // What follows the pairs stays.
        let x = GradientTests.values(2 * half + 1, seed: 4)
        let angles = GradientTests.values(half, seed: 5).map { 2 * Double($0) }
        let (cosines, sines) = (angles.map { Float(cos($0)) }, angles.map { Float(sin($0)) })
        var turned = x
        kernel_rotate_neighbours(level, &turned, cosines, sines, half)
        for pair in 0..<half {
            let (a, b) = (Double(x[2 * pair]), Double(x[2 * pair + 1]))
            #expect(abs(Double(turned[2 * pair]) - (a * cos(angles[pair]) - b * sin(angles[pair]))) < 1e-6)
            #expect(abs(Double(turned[2 * pair + 1]) - (b * cos(angles[pair]) + a * sin(angles[pair]))) < 1e-6)
        }
        kernel_rotate_neighbours_back(level, &turned, cosines, sines, half)
        #expect(zip(x, turned).allSatisfy { abs($0 - $1) <= 1e-6 })
        #expect(turned.last == x.last)
    }
}
