// SPDX-License-Identifier: Apache-2.0
/// Rows that a thread takes at a time in loops over tokens.
private let rowsPerPiece = 32

/// Calls `body` with pieces of 0 ..< rows, on all threads.
func forEachPiece(of rows: Int, _ body: @escaping (Range<Int>) -> Void) {
    ThreadPool.forEach((rows + rowsPerPiece - 1) / rowsPerPiece) { piece, _ in
        body(piece * rowsPerPiece..<min(rows, (piece + 1) * rowsPerPiece))
    }
}

/// Adds a vector to each of `rows` rows of its size.
func addToEachRow(_ vector: FloatBuffer, _ out: UnsafeMutablePointer<Float>, rows: Int) {
    forEachPiece(of: rows) { piece in
        for row in piece { Kernels.add(vector.pointer, to: out + row * vector.count, vector.count) }
    }
}

extension NativeModel {
    /// x * weight^T + bias for each projection, with x: rows x inputs. A few rows read all weights in one loop.
    ///
    /// - Parameter runs: how many rows of x belong together: see `MatrixProduct.apply`.
    /// Errors: `.memory`.
    func project(_ projections: [Projection], of x: FloatBuffer, runs: [Int]) throws(PruneError) -> [FloatBuffer] {
        let rows = runs.reduce(0, +)
        let outs = try projections.map { projection throws(PruneError) in
            try scratch.buffer(rows * projection.outputs)
        }
        let isStraight = !projections.contains(where: \.isTransposed)
        if isStraight, rows <= MatrixProduct.fewRows, let columns = projections.first?.weight.columns {
            let x = try productInput(x, rows: rows, columns: columns)
            MatrixProduct.applyToFewRows(x.pointer, rows, zip(projections, outs).map { ($0.weight, $1.pointer) })
            for (projection, out) in zip(projections, outs) { try addBias(of: projection, to: out.pointer, rows: rows) }
        } else {
            for (projection, out) in zip(projections, outs) {
                try project(projection, of: x, runs: runs, into: out.pointer)
            }
        }
        return outs
    }

    /// out = x * weight^T + bias, with x: rows x inputs and out: rows x outputs.
    func project(
        _ projection: Projection, of x: FloatBuffer, runs: [Int], into out: UnsafeMutablePointer<Float>
    ) throws(PruneError) {
        let weight = projection.weight
        let rows = runs.reduce(0, +)
        if projection.isTransposed {
            let x = try productInput(x, rows: rows, columns: projection.inputs)
            try MatrixProduct.pullback(
                [GradientTerm(UnsafePointer(x.pointer), weight)], runs: runs, into: out, scratch: scratch)
            return try addBias(of: projection, to: out, rows: rows)
        }
        if compute == .bfloat16, rows > MatrixProduct.fewRows {
            let rounded = try BFloat16Rows(rounding: x.pointer, rows: rows, columns: weight.columns, scratch)
            let run = BFloat16Product.Run(rows: 0..<rows, out: out, stride: weight.rows)
            let target = BFloat16Product.Target(weight: weight, bias: try projection.bias?.floats(scratch), runs: [run])
            return try BFloat16Product.apply(rounded, to: [target], scratch: scratch)
        }
        let x = try productInput(x, rows: rows, columns: weight.columns)
        try MatrixProduct.apply(x.pointer, runs: runs, weight, into: out, scratch: scratch)
        try addBias(of: projection, to: out, rows: rows)
    }

    /// Adds the bias of a projection, if it has one, to each row of its outputs.
    private func addBias(
        of projection: Projection, to out: UnsafeMutablePointer<Float>, rows: Int
    ) throws(PruneError) {
        if let bias = try projection.bias?.floats(scratch) { addToEachRow(bias, out, rows: rows) }
    }

    /// The rows of x as products in fp32 take them: rounded to bf16 where the model computes so, so that a few rows, which
    /// are multiplied as weights are stored, have the products that many have.
    private func productInput(_ x: FloatBuffer, rows: Int, columns: Int) throws(PruneError) -> FloatBuffer {
        guard compute == .bfloat16 else { return x }
        return try BFloat16Rows(rounding: x.pointer, rows: rows, columns: columns, scratch).widened(scratch)
    }
}
