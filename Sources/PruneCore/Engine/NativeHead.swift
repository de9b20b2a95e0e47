// SPDX-License-Identifier: Apache-2.0
extension NativeModel {
    public func logits(
        _ state: any HiddenState, at rows: Range<Int>, into out: inout MutableSpan<Float>
    ) throws(PruneError) {
        let state = try native(state)
        guard out.count == rows.count * config.vocabularySize else {
            throw PruneError(.internal, "room for \(out.count) logits where \(rows.count) tokens have more or fewer")
        }
        var failure: PruneError?
        out.withUnsafeMutableBufferPointer { out in
            guard let base = out.baseAddress else { return }
            do throws(PruneError) {
                try readingHead { () throws(PruneError) in
                    try BLAS.products(in: compute) { () throws(PruneError) in
                        let x = try finalNormed(state, at: Array(rows))
                        try project(Projection(weight: weights.head, bias: nil), of: x, runs: [rows.count], into: base)
                    }
                }
            } catch { failure = error }
        }
        if let failure { throw failure }
    }

    /// finalNorm(h) of some rows of a state, one after the other.
    func finalNormed(_ state: NativeState, at rows: [Int]) throws(PruneError) -> FloatBuffer {
        try finalNormed(rows.map { LogitRow(state: state, row: $0) })
    }

    /// finalNorm(h) of some rows, one after the other.
    func finalNormed(_ rows: [LogitRow]) throws(PruneError) -> FloatBuffer {
        let width = config.hiddenSize
        let gain = try weights.finalNorm.gain.floats(scratch)
        let x = try scratch.buffer(rows.count * width)
        let finalNorm = weights.finalNorm
        forEachPiece(of: rows.count) { piece in
            for place in piece {
                let values = rows[place].state.values.pointer + rows[place].row * width
                (x.pointer + place * width).update(from: values, count: width)
            }
            finalNorm.apply(x.pointer, rows: piece, width: width, gain: gain, into: x.pointer)
        }
        return x
    }
}
