// SPDX-License-Identifier: Apache-2.0
import CKernels
import Testing

@testable import PruneCore

/// Loops of norms, and norms made of them, against plain arithmetic in double.
@Suite struct NormLoopTests {
    static let lengths = [1, 2, 7, 32, 33, 1031]
    static let epsilon = 1e-3

    /// gain * (x - mean) / sqrt(variance + epsilon) + bias
    static func layerNorm(_ x: [Double], _ gain: [Double], _ bias: [Double]) -> [Double] {
        let mean = x.reduce(0, +) / Double(x.count)
        let variance = x.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(x.count)
        let scale = 1 / (variance + epsilon).squareRoot()
        return x.indices.map { gain[$0] * (x[$0] - mean) * scale + bias[$0] }
    }

    @Test(arguments: KernelTests.levels, lengths)
    func layerNormsAndTheirPullbacks(_ level: Int32, _ count: Int) {
        // A mean that is far from 0 costs no digits.
        let x = GradientTests.values(count, seed: 1).map { $0 + 20 }
        let (gain, bias, dy) = (
            GradientTests.values(count, seed: 2), GradientTests.values(count, seed: 3),
            GradientTests.values(count, seed: 4)
        )
        let wide = x.map(Double.init)
        let mean = kernel_sum(level, x, count) / Float(count)
        #expect(abs(Double(mean) - wide.reduce(0, +) / Double(count)) <= 1e-5)
        let squares = kernel_sum_squares_about(level, x, mean, count)
        let scale = 1 / (squares / Float(count) + Float(Self.epsilon)).squareRoot()
        var out = [Float](repeating: 0, count: count)
        kernel_layer_norm(level, x, mean, scale, gain, bias, &out, count)
        let exact = Self.layerNorm(wide, gain.map(Double.init), bias.map(Double.init))
        for (found, exact) in zip(out, exact) { #expect(abs(Double(found) - exact) <= 1e-4 * (1 + abs(exact))) }
        var own = x
        kernel_layer_norm(level, own, mean, scale, gain, bias, &own, count)
        #expect(own == out)

        var sum = [Float](repeating: 1, count: count)
        kernel_layer_norm_pullback(level, x, mean, scale, gain, dy, &sum, count)
        /// dy * norm(x)
        func projection(_ x: [Double]) -> Double {
            zip(dy, Self.layerNorm(x, gain.map(Double.init), bias.map(Double.init))).reduce(0) {
                $0 + Double($1.0) * $1.1
            }
        }
        for index in [0, count / 2, count - 1] {
            let sides = [1e-5, -1e-5].map { step in
                var moved = wide
                moved[index] += step
                return projection(moved)
            }
            let slope = (sides[0] - sides[1]) / 2e-5
            #expect(abs(Double(sum[index]) - 1 - slope) <= 2e-4 * (1 + abs(slope)), "place \(index) of \(count)")
        }
    }

    @Test func aPreparedNormIsItsFormula() throws {
        let (width, first) = (7, 3)
        let x = GradientTests.values(width, seed: 1)
        let (gain, bias) = (
            GradientTests.values(width + first, seed: 2), GradientTests.values(width + first, seed: 3)
        )
        func floats(_ buffer: FloatBuffer) -> [Float] {
            Array(UnsafeBufferPointer(start: buffer.pointer, count: buffer.count))
        }
        let own = (gain[first...].map(Double.init), bias[first...].map(Double.init))
        for (kind, bias) in [(NormKind.layer, bias), (.rootMeanSquare, bias), (.rootMeanSquare, nil)] {
            let norm = try InputNorm(kind, gain: gain, bias: bias, epsilon: Float(Self.epsilon)).prepared(BufferPool())
            let wide = x.map(Double.init)
            let scale = 1 / (wide.reduce(0) { $0 + $1 * $1 } / Double(width) + Self.epsilon).squareRoot()
            let exact =
                kind == .layer
                ? Self.layerNorm(wide, own.0, own.1)
                : wide.indices.map { wide[$0] * scale * own.0[$0] + (bias == nil ? 0 : own.1[$0]) }
            var out = [Float](repeating: 0, count: width)
            norm.apply(x, width: width, first: first, into: &out)
            for (found, exact) in zip(out, exact) { #expect(abs(Double(found) - exact) < 1e-5) }
            #expect(norm.needsRoom == (kind == .layer || bias != nil))
        }
        // A layer norm has a bias of zeros where it has none.
        let plain = try InputNorm(.layer, gain: gain, epsilon: 1).prepared(BufferPool())
        #expect(plain.bias.map(floats) == Array(repeating: 0, count: width + first))
    }

    @Test func rowsGoThroughANormAndBack() throws {
        let (width, rows) = (5, 300)
        let scratch = BufferPool()
        func buffer(_ values: [Float]) throws -> FloatBuffer {
            let buffer = try scratch.buffer(values.count)
            for index in values.indices { buffer.pointer[index] = values[index] }
            return buffer
        }
        let gain = GradientTests.values(width, seed: 2)
        let norm = try InputNorm(.layer, gain: gain, bias: gain, epsilon: 1e-3).prepared(scratch)
        let values = GradientTests.values(width * rows, seed: 1)
        let x = try buffer(values)
        let normed = try buffer(values)
        norm.applyToRows(of: normed, width: width)
        let dy = try buffer(GradientTests.values(width * rows, seed: 3))
        let dx = try scratch.buffer(width * rows)
        norm.pullback(x, width: width, of: dy, into: dx)
        for row in [0, 17, rows - 1] {
            let place = row * width
            var alone = [Float](repeating: 0, count: width)
            norm.apply(x.pointer + place, width: width, into: &alone)
            #expect((0..<width).allSatisfy { alone[$0] == normed.pointer[place + $0] })
            var gradient = [Float](repeating: 0, count: width)
            norm.addPullback(x.pointer + place, width: width, of: dy.pointer + place, to: &gradient)
            #expect((0..<width).allSatisfy { gradient[$0] == dx.pointer[place + $0] })
        }
    }
}
