// SPDX-License-Identifier: Apache-2.0
/// Told the prepared keys and the values of an attention sublayer, rows of kvHeadCount * headSize each.
typealias KeyValueReader = (_ keys: FloatBuffer, _ values: FloatBuffer) throws(PruneError) -> Void

extension NativeModel {
    /// Queries, keys and values of normed rows: projected, normed, clipped and turned, in this order.
    ///
    /// - Parameter starts: the position of each sequence's first row; empty = 0 for all.
    func heads<P: Products>(
        _ layer: AttentionWeights, _ x: P.Rows, _ sequences: [Range<Int>], startingAt starts: [Int], _ runs: [Int],
        _ products: P
    ) throws(PruneError) -> AttentionRows {
        let heads = try projectedHeads(layer, x, runs, products)
        try prepare(heads, layer, sequences, startingAt: starts)
        return heads
    }

    /// The same as projected.
    func projectedHeads<P: Products>(
        _ layer: AttentionWeights, _ x: P.Rows, _ runs: [Int], _ products: P
    ) throws(PruneError) -> AttentionRows {
        let projected = try products.project(layer.inputs, of: x, runs: runs)
        if projected.count == 3 {
            return AttentionRows(query: projected[0], key: projected[1], value: projected[2])
        }
        let parts = AttentionRows(
            query: try scratch.buffer(projected[0].count / 3), key: try scratch.buffer(projected[0].count / 3),
            value: try scratch.buffer(projected[0].count / 3))
        let size = config.headSize
        forEachPart(of: parts, rows: runs.reduce(0, +)) { part, offset in
            part.update(from: projected[0].pointer + offset, count: size)
        }
        return parts
    }

    /// Rows of query, key and value of the first head, then those of the next, and so on, from rows of each.
    func joinedHeads(_ parts: AttentionRows, rows: Int) throws(PruneError) -> FloatBuffer {
        let joined = try scratch.buffer(3 * parts.query.count)
        let size = config.headSize
        forEachPart(of: parts, rows: rows) { part, offset in
            (joined.pointer + offset).update(from: part, count: size)
        }
        return joined
    }

    /// Calls `body` with every head of every part and row, and its place in rows of query, key and value head by head.
    private func forEachPart(
        of parts: AttentionRows, rows: Int,
        _ body: @escaping (_ part: UnsafeMutablePointer<Float>, _ offset: Int) -> Void
    ) {
        let (heads, size) = (config.headCount, config.headSize)
        let all = [parts.query, parts.key, parts.value]
        forEachPiece(of: rows) { piece in
            for row in piece {
                for head in 0..<heads {
                    for (index, part) in all.enumerated() {
                        let place = row * heads + head
                        body(part.pointer + place * size, (3 * place + index) * size)
                    }
                }
            }
        }
    }

    /// Norms, clips and turns heads. In place.
    ///
    /// - Parameter starts: the position of each sequence's first row; empty = 0 for all.
    func prepare(
        _ heads: AttentionRows, _ layer: AttentionWeights, _ sequences: [Range<Int>], startingAt starts: [Int] = []
    ) throws(PruneError) {
        let starts = starts.isEmpty ? Array(repeating: 0, count: sequences.count) : starts
        let plan = layer.plan
        let query = HeadNorm(
            try layer.queryNorm?.prepared(scratch), plan.queryNorm?.span, config.headCount, config.headSize)
        let key = HeadNorm(
            try layer.keyNorm?.prepared(scratch), plan.keyNorm?.span, config.kvHeadCount, config.headSize)
        try prepare(heads.query, query, layer, sequences, starts)
        try prepare(heads.key, key, layer, sequences, starts)
        if let clip = plan.clip { clamp(heads.value, at: clip) }
    }

    private func prepare(
        _ x: FloatBuffer, _ norm: HeadNorm, _ layer: AttentionWeights, _ sequences: [Range<Int>], _ starts: [Int]
    ) throws(PruneError) {
        let size = config.headSize
        let heads = norm.heads
        let clip = layer.plan.clip
        for (sequence, start) in zip(sequences, starts) {
            let turn = try layer.rotary.map { table throws(PruneError) in
                HeadTurn(table.parameters, try table.angles(length: start + sequence.count))
            }
            if turn == nil, !norm.isThere, clip == nil { continue }
            forEachPiece(of: sequence.count) { rows in
                for index in rows {
                    let row = x.pointer + (sequence.lowerBound + index) * heads * size
                    norm.apply(row)
                    if let clip { hold(row, heads * size, at: clip) }
                    turn?.apply(row, heads: heads, size: size, position: start + index)
                }
            }
        }
    }

    private func clamp(_ x: FloatBuffer, at limit: Float) {
        let rows = (x.count + 1023) / 1024
        forEachPiece(of: rows) { piece in
            let first = piece.lowerBound * 1024
            hold(x.pointer + first, min(piece.count * 1024, x.count - first), at: limit)
        }
    }
}

/// Holds values within +- a limit. What is not a number stays so.
private func hold(_ x: UnsafeMutablePointer<Float>, _ count: Int, at limit: Float) {
    for index in 0..<count { x[index] = x[index] > limit ? limit : x[index] < -limit ? -limit : x[index] }
}

/// The turn of heads by their position.
struct HeadTurn {
    private let pairing: Kernels.Pairing
    private let half: Int
    private let angles: RotaryAngles

    init(_ parameters: RotaryParameters, _ angles: RotaryAngles) {
        pairing = parameters.pairing
        half = parameters.half
        self.angles = angles
    }

    // Safe: `angles` has a row for every position of the sequence it was asked for.

    func apply(_ row: UnsafeMutablePointer<Float>, heads: Int, size: Int, position: Int) {
        let (cosine, sine) = (angles.cosines.pointer + position * half, angles.sines.pointer + position * half)
        for head in 0..<heads {
            Kernels.rotate(row + head * size, pairing, cosine: cosine, sine: sine, half: half)
        }
    }

    /// The other way, which is the gradient.
    func applyBack(_ row: UnsafeMutablePointer<Float>, heads: Int, size: Int, position: Int) {
        let (cosine, sine) = (angles.cosines.pointer + position * half, angles.sines.pointer + position * half)
        for head in 0..<heads {
            Kernels.rotateBack(row + head * size, pairing, cosine: cosine, sine: sine, half: half)
        }
    }
}

/// The norm of the query or key heads of a row, if there is one.
struct HeadNorm {
    let heads: Int
    private let norm: PreparedNorm?
    private let size: Int
    /// How many norms a row has, of how many values each, and the values from one's gain to the next one's.
    let (count, width, stride): (Int, Int, Int)

    init(_ norm: PreparedNorm?, _ span: HeadNormPlan.Span?, _ heads: Int, _ size: Int) {
        self.norm = norm
        self.heads = heads
        self.size = size
        (count, width, stride) =
            switch span {
            case .allHeads: (1, heads * size, 0)
            case .eachHead: (heads, size, size)
            case .head, nil: (heads, size, 0)
            }
    }

    var isThere: Bool { norm != nil }

    func apply(_ row: UnsafeMutablePointer<Float>) {
        guard let norm else { return }
        for index in 0..<count {
            let x = row + index * width
            norm.apply(x, width: width, first: index * stride, into: x)
        }
    }

    /// out = the gradient with respect to a row x, where dy is that with respect to its norm.
    func pullback(
        _ x: UnsafePointer<Float>, of dy: UnsafePointer<Float>, into out: UnsafeMutablePointer<Float>
    ) {
        guard let norm else { return }
        out.update(repeating: 0, count: heads * size)
        for index in 0..<count {
            let place = index * width
            norm.addPullback(x + place, width: width, first: index * stride, of: dy + place, to: out + place)
        }
    }
}
