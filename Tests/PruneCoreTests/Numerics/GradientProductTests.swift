// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

/// Products with matrices as they are stored, dX = dY * W, against plain arithmetic.
@Suite struct GradientProductTests {
    /// Gradient rows, and outputs and inputs of the weights that they meet.
    struct Shape: CustomTestStringConvertible {
        let rows: Int
        let inputs: Int
        /// Of each weight, and how many come before those that count.
        let outputs: [(count: Int, skipped: Int)]

        var testDescription: String { "\(rows) rows, \(inputs) inputs, outputs \(outputs)" }
    }

    static let shapes = [
        Shape(rows: 1, inputs: 1, outputs: [(1, 0)]), Shape(rows: 5, inputs: 32, outputs: [(64, 0)]),
        Shape(rows: 7, inputs: 33, outputs: [(65, 0), (3, 2)]),
        Shape(rows: 13, inputs: 150, outputs: [(9, 4), (70, 0), (2, 0)]),
        Shape(rows: 400, inputs: 100, outputs: [(31, 1), (40, 0)]),
    ]

    let scratch = BufferPool()
    let fixtures = BFloat16ProductTests()

    /// A product's terms, and what it gives in double; `start` comes before.
    func terms(
        _ type: ElementType, _ shape: Shape, start: [Float]
    ) -> (terms: [GradientTerm<[Float]>], exact: [Double], owners: [BFloat16ProductTests.Bytes]) {
        var terms: [GradientTerm<[Float]>] = []
        var exact = start.map(Double.init)
        var owners: [BFloat16ProductTests.Bytes] = []
        for (index, (count, skipped)) in shape.outputs.enumerated() {
            let seed = UInt64(40 + 2 * index)
            let (weight, w, owner) = fixtures.stored(type, rows: count + skipped, columns: shape.inputs, seed: seed)
            // Values that bf16 holds, so that both kinds of product see the same.
            let dy = fixtures.values(shape.rows * count, seed: seed + 1)
                .map { Float(bitPattern: $0.bitPattern & 0xffff_0000) }
            for row in 0..<shape.rows {
                for output in 0..<count {
                    for input in 0..<shape.inputs {
                        exact[row * shape.inputs + input] +=
                            Double(dy[row * count + output]) * Double(w[(output + skipped) * shape.inputs + input])
                    }
                }
            }
            terms.append(GradientTerm(dy, weight, outputs: skipped..<skipped + count))
            owners.append(owner)
        }
        return (terms, exact, owners)
    }

    func buffer(_ values: [Float]) throws -> FloatBuffer {
        let buffer = try scratch.buffer(values.count)
        for (index, value) in values.enumerated() { buffer.pointer[index] = value }
        return buffer
    }

    func largestError(_ found: FloatBuffer, _ exact: [Double]) -> Double {
        exact.indices.map { abs(Double(found.pointer[$0]) - exact[$0]) }.max() ?? .infinity
    }

    @Test(arguments: [ElementType.bfloat16, .float16, .float32], shapes)
    func float32(_ type: ElementType, _ shape: Shape) throws {
        let start = fixtures.values(shape.rows * shape.inputs, seed: 39)
        for adding in [false, true] {
            let (terms, exact, owners) = terms(type, shape, start: adding ? start : start.map { _ in 0 })
            let gradients = try terms.map { try buffer($0.gradient) }
            let out = try buffer(start)
            try withExtendedLifetime((owners, gradients)) {
                try MatrixProduct.pullback(
                    zip(terms, gradients).map {
                        GradientTerm(UnsafePointer($1.pointer), $0.weight, outputs: $0.outputs)
                    },
                    runs: [shape.rows / 3, shape.rows - shape.rows / 3], into: out.pointer, adding: adding,
                    scratch: scratch)
            }
            #expect(largestError(out, exact) <= 2e-5)
        }
    }

    @Test(
        .enabled(if: BFloat16Product.isSupported, "this CPU has no bf16 instructions"),
        arguments: [ElementType.bfloat16, .float16, .float32], shapes)
    func bfloat16(_ type: ElementType, _ shape: Shape) throws {
        let start = fixtures.values(shape.rows * shape.inputs, seed: 39)
        let (terms, exact, owners) = terms(type, shape, start: start)
        let own = try terms.map { term in
            let rows = try term.gradient.withUnsafeBufferPointer {
                try BFloat16Rows(rounding: $0.baseAddress!, rows: shape.rows, columns: term.outputs.count, scratch)
            }
            return GradientTerm(rows, term.weight, outputs: term.outputs)
        }
        let (before, out) = (try buffer(start), try scratch.buffer(start.count))
        let runs = [0..<shape.rows / 3, shape.rows / 3..<shape.rows].map { rows in
            BFloat16Product.Run(
                rows: rows, start: UnsafePointer(before.pointer) + rows.lowerBound * shape.inputs,
                out: out.pointer + rows.lowerBound * shape.inputs, stride: shape.inputs)
        }
        try withExtendedLifetime(owners) { try BFloat16Product.pullback(own, to: runs, scratch: scratch) }
        #expect(largestError(out, exact) <= 2e-5)
    }

    /// More outputs than are widened at a time.
    @Test func aLongSumIsTakenInParts() throws {
        let shape = Shape(rows: 2, inputs: 16, outputs: [(70_000, 0)])
        let (terms, exact, owners) = terms(.bfloat16, shape, start: Array(repeating: 0, count: 32))
        let (dy, out) = (try buffer(terms[0].gradient), try scratch.buffer(32))
        try withExtendedLifetime((owners, dy)) {
            try MatrixProduct.pullback(
                [GradientTerm(UnsafePointer(dy.pointer), terms[0].weight)], runs: [2], into: out.pointer,
                scratch: scratch)
        }
        #expect(largestError(out, exact) <= 1e-2)
    }
}
