// SPDX-License-Identifier: Apache-2.0
import CKernels
import Testing

@testable import PruneCore

/// Products with matrices stored in blocks against plain arithmetic with their values.
@Suite struct QuantisedProductTests {
    let scratch = BufferPool()
    let fixtures = BFloat16ProductTests()

    /// The nearest bf16, ties to even.
    private func rounded(_ value: Float) -> Float {
        let bits = value.bitPattern
        return Float(bitPattern: (bits + 0x7fff + (bits >> 16) & 1) & 0xffff_0000)
    }

    private func buffer(_ values: [Float]) throws -> FloatBuffer {
        let buffer = try scratch.buffer(values.count)
        for (index, value) in values.enumerated() { buffer.pointer[index] = value }
        return buffer
    }

    /// x: rows x inputs, w: outputs x inputs.
    private func product(_ x: [Float], _ w: [Float], inputs: Int) -> [Double] {
        (0..<x.count / inputs).flatMap { row in
            (0..<w.count / inputs).map { output in
                (0..<inputs).reduce(0.0) { $0 + Double(x[row * inputs + $1]) * Double(w[output * inputs + $1]) }
            }
        }
    }

    private func pullback(_ dy: [Float], _ w: [Float], inputs: Int) -> [Double] {
        let outputs = w.count / inputs
        return (0..<dy.count / outputs).flatMap { row in
            (0..<inputs).map { input in
                (0..<outputs).reduce(0.0) { $0 + Double(dy[row * outputs + $1]) * Double(w[$1 * inputs + input]) }
            }
        }
    }

    private func largestError(_ found: FloatBuffer, _ exact: [Double]) -> Double {
        exact.indices.map { abs(Double(found.pointer[$0]) - exact[$0]) }.max() ?? .infinity
    }

    @Test func theCoreAndTheLoopsAgreeOnBlocks() {
        for type in ElementType.allCases {
            #expect(kernel_block_elements(type.kernelType) == (type.isQuantised ? type.blockElements : 0))
            #expect(kernel_block_bytes(type.kernelType) == (type.isQuantised ? type.blockBytes : 0))
        }
        #expect(Set(ElementType.allCases.map(\.kernelType)).count == ElementType.allCases.count)
    }

    @Test(arguments: ElementType.quantised)
    func float32(_ type: ElementType) throws {
        let (inputs, outputs) = (512, 19)
        let (weight, w, owner) = quantisedMatrix(type, rows: outputs, columns: inputs, seed: 1)
        // A row and four take the path of few rows.
        let x = fixtures.values(12 * inputs, seed: 2)
        let (rows, out) = (try buffer(x), try scratch.buffer(12 * outputs))
        try withExtendedLifetime(owner) {
            try MatrixProduct.apply(rows.pointer, runs: [1, 4, 7], weight, into: out.pointer, scratch: scratch)
        }
        #expect(largestError(out, product(x, w, inputs: inputs)) <= 2e-5)
        let back = try scratch.buffer(12 * inputs)
        let dy = fixtures.values(12 * outputs, seed: 3)
        let gradient = try buffer(dy)
        try withExtendedLifetime(owner) {
            try MatrixProduct.pullback(
                [GradientTerm(UnsafePointer(gradient.pointer), weight)], runs: [12], into: back.pointer,
                scratch: scratch)
        }
        #expect(largestError(back, pullback(dy, w, inputs: inputs)) <= 2e-5)
    }

    @Test(
        .enabled(if: BFloat16Product.isSupported, "this CPU has no bf16 instructions"), arguments: ElementType.quantised
    )
    func bfloat16(_ type: ElementType) throws {
        let (inputs, outputs, count) = (768, 18, 5)
        let (weight, exact, owner) = quantisedMatrix(type, rows: outputs, columns: inputs, seed: 4)
        let w = exact.map(rounded)
        let (x, dy) = (
            fixtures.values(count * inputs, seed: 5).map(rounded),
            fixtures.values(count * outputs, seed: 6).map(rounded)
        )
        let (xs, dys) = (try buffer(x), try buffer(dy))
        let (out, back) = (try scratch.buffer(count * outputs), try scratch.buffer(count * inputs))
        try withExtendedLifetime(owner) {
            let run = BFloat16Product.Run(rows: 0..<count, out: out.pointer, stride: outputs)
            try BFloat16Product.apply(
                BFloat16Rows(rounding: xs.pointer, rows: count, columns: inputs, scratch),
                to: [BFloat16Product.Target(weight: weight, runs: [run])], scratch: scratch)
            let gradient = try BFloat16Rows(rounding: dys.pointer, rows: count, columns: outputs, scratch)
            let start = try buffer([Float](repeating: 0, count: count * inputs))
            try BFloat16Product.pullback(
                [GradientTerm(gradient, weight)],
                to: [
                    BFloat16Product.Run(
                        rows: 0..<count, start: UnsafePointer(start.pointer), out: back.pointer, stride: inputs)
                ], scratch: scratch)
        }
        #expect(largestError(out, product(x, w, inputs: inputs)) <= 2e-5)
        #expect(largestError(back, pullback(dy, w, inputs: inputs)) <= 2e-5)
    }

    /// A tile of a pullback may begin within a block: 896 columns are cut into tiles of 112.
    @Test(arguments: ElementType.quantised.filter { $0.blockElements == 32 })
    func tilesOfColumnsMayBeginWithinBlocks(_ type: ElementType) throws {
        let (inputs, outputs) = (896, 7)
        let (weight, w, owner) = quantisedMatrix(type, rows: outputs, columns: inputs, seed: 7)
        let dy = fixtures.values(3 * outputs, seed: 8)
        let (gradient, back) = (try buffer(dy), try scratch.buffer(3 * inputs))
        try withExtendedLifetime(owner) {
            try MatrixProduct.pullback(
                [GradientTerm(UnsafePointer(gradient.pointer), weight)], runs: [3], into: back.pointer,
                scratch: scratch)
        }
        #expect(largestError(back, pullback(dy, w, inputs: inputs)) <= 2e-5)
    }

    @Test(arguments: ElementType.quantised)
    func partsHoldTheirOwnElements(_ type: ElementType) throws {
        let block = type.blockElements
        let (matrix, values, owner) = quantisedMatrix(type, rows: 6, columns: 3 * block, seed: 9)
        try withExtendedLifetime(owner) {
            let part = try matrix.tensor.part(rows: 2..<5, columns: block..<3 * block)
            let own = StoredMatrix(part, rows: 3, columns: 2 * block)
            #expect(part.byteCount == 6 * type.blockBytes)
            let widened = try scratch.buffer(6 * block)
            own.widen(first: 0, count: 3, into: widened.pointer)
            for row in 0..<3 {
                for column in 0..<2 * block {
                    let value = values[(row + 2) * 3 * block + block + column]
                    #expect(widened.pointer[row * 2 * block + column].bitPattern == value.bitPattern)
                }
            }
            #expect(part.hasElements(of: part.renamed("other")))
            let next = try matrix.tensor.part(rows: 1..<4, columns: block..<3 * block)
            #expect(!part.hasElements(of: next))
        }
    }

    @Test func partsThatCutABlockAreRefused() throws {
        let (matrix, _, owner) = quantisedMatrix(.q4K, rows: 4, columns: 512, seed: 10)
        defer { withExtendedLifetime(owner) {} }
        for columns in [128..<512, 0..<300] {
            let error = #expect(throws: PruneError.self) { try matrix.tensor.part(rows: 0..<4, columns: columns) }
            #expect(error?.kind == .unsupported)
            #expect(error?.message.contains("\"w\" is stored as q4_k, in blocks of 256 elements") == true)
        }
        #expect(throws: PruneError.self) { try matrix.tensor.part(row: 1, 0..<100) }
        let row = try matrix.tensor.part(row: 1, 256..<512)
        #expect(row.byteCount == 144)
    }
}
