/// How logits are tiled. A tile is made and used up on one thread; tokens x vocabulary never stands in memory whole.
enum LogitTile {
    static let tokens = 1024
    static let entries = 1024
}

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
                try BLAS.singleThreaded { () throws(PruneError) in
                    let x = try finalNormed(state, at: Array(rows))
                    try MatrixProduct.apply(
                        x.pointer, tokens: rows.count, weights.head, into: base, stride: config.vocabularySize,
                        scratch: scratch)
                }
            } catch { failure = error }
        }
        if let failure { throw failure }
    }

    /// finalNorm(h) of some rows, one after the other.
    func finalNormed(_ state: NativeState, at rows: [Int]) throws(PruneError) -> FloatBuffer {
        let width = config.hiddenSize
        let gain = try weights.finalNorm.gain.floats(scratch)
        let x = try scratch.buffer(rows.count * width)
        let finalNorm = weights.finalNorm
        forEachPiece(of: rows.count) { piece in
            for place in piece {
                (x.pointer + place * width).update(from: state.values.pointer + rows[place] * width, count: width)
            }
            finalNorm.apply(x.pointer, rows: piece, width: width, gain: gain, into: x.pointer)
        }
        return x
    }

    /// Calls `body` on all threads with tiles of the logits of `inputs`, each of `rows` rows: one tile of
    /// rows x (vocabulary entries of the tile) per input, one after the other. All come from one reading of the weights,
    /// and each from a product of its own, so equal inputs have equal logits.
    func forEachLogitTile(
        _ inputs: [FloatBuffer], rows: Int, _ tiling: Tiling,
        _ body: @escaping (_ logits: UnsafeMutablePointer<Float>, _ tile: Tile) -> Void
    ) throws(PruneError) {
        let width = config.hiddenSize
        let slotFloats = inputs.count * rows * tiling.rowsPerTile
        let logits = try scratch.buffer(slotFloats * tiling.slots)
        try MatrixProduct.forEachTile(of: weights.head, tiling, scratch: scratch) { weights, tile in
            // Safe: the slot's part of the buffer belongs to this thread until the call returns.
            let own = logits.pointer + tile.slot * slotFloats
            let entries = tile.rows.count
            for (index, x) in inputs.enumerated() {
                BLAS.multiplyTransposed(
                    m: rows, n: entries, k: width, x.pointer, width, weights, width, own + index * rows * entries, entries)
            }
            body(own, tile)
        }
    }
}
