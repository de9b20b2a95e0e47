// SPDX-License-Identifier: Apache-2.0
extension NativeModel {
    public func logits(
        _ state: any HiddenState, at rows: Range<Int>, into out: inout MutableSpan<Float>
    ) throws(PruneError) {
        let state = try settledAtEnd(state)
        guard out.count == rows.count * config.vocabularySize else {
            throw PruneError(.internal, "room for \(out.count) logits where \(rows.count) tokens have more or fewer")
        }
        var failure: PruneError?
        out.withUnsafeMutableBufferPointer { out in
            guard let base = out.baseAddress else { return }
            do throws(PruneError) {
                try readingHead { () throws(PruneError) in
                    try BLAS.products(in: compute) { () throws(PruneError) in
                        try makeLogits(of: finalNormed(state, at: Array(rows)), runs: [rows.count], into: base)
                    }
                }
            } catch { failure = error }
        }
        if let failure { throw failure }
    }

    /// A state after the last sublayer.
    func settledAtEnd(_ state: any HiddenState) throws(PruneError) -> NativeState {
        try settled(native(state), before: shape.sublayerCount)
    }

    /// out = the logits of rows that are as the head takes them.
    func makeLogits(
        of x: FloatBuffer, runs: [Int], into out: UnsafeMutablePointer<Float>
    ) throws(PruneError) {
        try project(Projection(weight: weights.head, bias: nil), of: x, runs: runs, into: out)
        let finish = try LogitFinish(self)
        if finish.isNothing { return }
        let entries = weights.head.rows
        forEachPiece(of: runs.reduce(0, +)) { rows in
            for row in rows { finish.apply(out + row * entries, 0..<entries) }
        }
    }

    /// Rows of a state as the head takes them, one after the other: finalNorm(h), in the width of the embedding.
    func finalNormed(_ state: NativeState, at rows: [Int]) throws(PruneError) -> FloatBuffer {
        try finalNormed(rows.map { LogitRow(state: state, row: $0) })
    }

    /// Some rows as the head takes them, one after the other.
    func finalNormed(_ rows: [LogitRow]) throws(PruneError) -> FloatBuffer {
        let x = try normedRows(rows)
        guard let projection = weights.headProjection else { return x }
        return try project([projection], of: x, runs: [rows.count])[0]
    }

    /// finalNorm(h) of some rows, one after the other.
    func normedRows(_ rows: [LogitRow]) throws(PruneError) -> FloatBuffer {
        let width = config.hiddenSize
        let norm = try weights.finalNorm?.prepared(scratch)
        let x = try scratch.buffer(rows.count * width)
        forEachPiece(of: rows.count) { piece in
            for place in piece {
                let values = rows[place].state.values.pointer + rows[place].row * width
                let own = x.pointer + place * width
                own.update(from: values, count: width)
                norm?.apply(own, width: width, into: own)
            }
        }
        return x
    }
}

/// What is left of logits to do after the product of the head: a bias and a cap, if the family has them.
struct LogitFinish: Sendable {
    private let bias: FloatBuffer?
    private let softCap: Float?

    init(_ model: NativeModel) throws(PruneError) {
        bias = try model.weights.headBias?.floats(model.scratch)
        softCap = model.config.head.softCap
    }

    var isNothing: Bool { bias == nil && softCap == nil }

    /// In place, on the logits of some entries of the vocabulary.
    func apply(_ logits: UnsafeMutablePointer<Float>, _ entries: Range<Int>) {
        if let bias { Kernels.add(bias.pointer + entries.lowerBound, to: logits, entries.count) }
        if let softCap { Kernels.cap(logits, at: softCap, entries.count) }
    }

    /// The gradient with respect to what the head's product gave, in the place of that of the logits.
    func pullback(_ logits: UnsafePointer<Float>, _ gradient: UnsafeMutablePointer<Float>, _ count: Int) {
        if let softCap { Kernels.capPullback(logits, gradient, cap: softCap, count) }
    }

    /// Whether the gradient needs the logits.
    var needsLogits: Bool { softCap != nil }
}
