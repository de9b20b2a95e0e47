// SPDX-License-Identifier: Apache-2.0
/// Rows that a thread takes at a time in loops over tokens.
private let rowsPerPiece = 32

/// Calls `body` with pieces of 0 ..< rows, on all threads.
func forEachPiece(of rows: Int, _ body: @escaping (Range<Int>) -> Void) {
    ThreadPool.forEach((rows + rowsPerPiece - 1) / rowsPerPiece) { piece, _ in
        body(piece * rowsPerPiece..<min(rows, (piece + 1) * rowsPerPiece))
    }
}

extension Norm {
    /// out = norm(x) for `rows` rows of `width` values each; `out` may be `x`.
    func apply(
        _ x: UnsafePointer<Float>, rows: Range<Int>, width: Int, gain: FloatBuffer,
        into out: UnsafeMutablePointer<Float>
    ) {
        for row in rows {
            let values = x + row * width
            let scale = scale(values, width: width)
            Kernels.scale(values, by: scale, times: gain.pointer, into: out + row * width, width)
        }
    }

    /// 1 / sqrt(mean(x^2) + epsilon)
    func scale(_ x: UnsafePointer<Float>, width: Int) -> Float {
        1 / (Kernels.sumOfSquares(x, width) / Float(width) + epsilon).squareRoot()
    }
}

extension NativeModel {
    /// The normed rows of all states, one after the other.
    ///
    /// - Parameter after: the successors of the states, if they are being made: each state's own rows are copied to its
    ///   successor, to which the sublayer then adds its update.
    func normed(
        _ norm: Norm, _ before: [NativeState], startingSums after: [NativeState]? = nil
    ) throws(PruneError) -> FloatBuffer {
        let width = config.hiddenSize
        let gain = try norm.gain.floats(scratch)
        let normed = try scratch.buffer(before.reduce(0) { $0 + $1.values.count })
        var first = 0
        for (index, state) in before.enumerated() {
            let out = normed.pointer + first * width
            let sum = after?[index].values
            forEachPiece(of: state.batch.rowCount) { rows in
                let start = rows.lowerBound * width
                if let sum {
                    (sum.pointer + start).update(from: state.values.pointer + start, count: rows.count * width)
                }
                norm.apply(state.values.pointer, rows: rows, width: width, gain: gain, into: out)
            }
            first += state.batch.rowCount
        }
        return normed
    }

    /// x * weight^T + bias for each projection, with x: rows x inputs. A few rows read all weights in one loop.
    ///
    /// - Parameter runs: how many rows of x belong together: see `MatrixProduct.apply`.
    /// Errors: `.memory`.
    func project(_ projections: [Projection], of x: FloatBuffer, runs: [Int]) throws(PruneError) -> [FloatBuffer] {
        let rows = runs.reduce(0, +)
        let outs = try projections.map { projection throws(PruneError) in
            try scratch.buffer(rows * projection.weight.rows)
        }
        if rows <= MatrixProduct.fewRows, let columns = projections.first?.weight.columns {
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
        guard let bias = try projection.bias?.floats(scratch) else { return }
        forEachPiece(of: rows) { piece in
            for row in piece { Kernels.add(bias.pointer, to: out + row * bias.count, bias.count) }
        }
    }

    /// The rows of x as products in fp32 take them: rounded to bf16 where the model computes so, so that a few rows, which
    /// are multiplied as weights are stored, have the products that many have.
    private func productInput(_ x: FloatBuffer, rows: Int, columns: Int) throws(PruneError) -> FloatBuffer {
        guard compute == .bfloat16 else { return x }
        return try BFloat16Rows(rounding: x.pointer, rows: rows, columns: columns, scratch).widened(scratch)
    }

    /// sum += x * weight^T + bias for each state's rows of x, which follow one another.
    func addProjection(_ projection: Projection, of x: FloatBuffer, to sums: [NativeState]) throws(PruneError) {
        let update = try project([projection], of: x, runs: sums.map(\.batch.rowCount))[0]
        let width = config.hiddenSize
        var first = 0
        for sum in sums {
            let place = first
            forEachPiece(of: sum.batch.rowCount) { rows in
                let offset = rows.lowerBound * width
                Kernels.add(
                    update.pointer + place * width + offset, to: sum.values.pointer + offset, rows.count * width)
            }
            first += sum.batch.rowCount
        }
    }

    /// h + down(activation(gate(x)) * up(x)) with x = norm(h)
    func feedForward(block: Int, _ before: [NativeState], _ after: [NativeState]) throws(PruneError) {
        let layer = weights.feedForward[block]
        let inner = config.feedForwardSize
        let runs = before.map(\.batch.rowCount)
        let rows = runs.reduce(0, +)
        let x = try normed(layer.norm, before, startingSums: after)
        let projected = try project([layer.gate, layer.up], of: x, runs: runs)
        let (gate, up) = (projected[0], projected[1])
        let activation = config.activation
        forEachPiece(of: rows) { piece in
            let start = piece.lowerBound * inner
            Kernels.multiply(up.pointer + start, by: activation, of: gate.pointer + start, piece.count * inner)
        }
        try addProjection(layer.down, of: up, to: after)
    }
}
