// SPDX-License-Identifier: Apache-2.0
/// One piece of attention for one thread: some queries of one head of one sequence.
struct AttentionPiece {
    let head: Int
    /// Rows of the sequence among all rows that go through the layer.
    let sequence: Range<Int>
    /// The queries, as positions in the sequence.
    let queries: Range<Int>
}

/// Called on the thread of the call between some pieces of attention and the next; what it throws ends the call.
typealias AttentionPause = () throws(PruneError) -> Void

/// Told the rotated keys and the values of an attention sublayer, rows of kvHeadCount * headSize each.
typealias KeyValueReader = (_ keys: FloatBuffer, _ values: FloatBuffer) throws(PruneError) -> Void

extension NativeModel {
    /// h + output(softmax(rotated q * rotated k^T / sqrt(headSize)) * v) with q, k, v projected from x = norm(h)
    ///
    /// Causal within each sequence; a query at position i sees the keys j with i - window < j <= i. Query heads share the
    /// key and value head of their group.
    ///
    /// - Parameters:
    ///   - keep: given the rotated keys and the values of all rows.
    ///   - pause: nil = attention is computed at one go.
    func attend(
        block: Int, _ before: [NativeState], _ after: [NativeState], keep: KeyValueReader? = nil,
        pause: AttentionPause? = nil
    ) throws(PruneError) {
        let layer = weights.attention[block]
        let sequences = sequences(of: before)
        let runs = before.map(\.batch.rowCount)
        let x = try normed(layer.norm, before, startingSums: after)
        let projected = try project([layer.query, layer.key, layer.value], of: x, runs: runs)
        let (query, key, value) = (projected[0], projected[1], projected[2])
        try prepareHeads(of: query, config.headCount, layer.queryNorm, sequences)
        try prepareHeads(of: key, config.kvHeadCount, layer.keyNorm, sequences)
        try keep?(key, value)
        let mixed = try scratch.buffer(query.count)
        try mix(query, key, value, sequences, window: config.windows[block], into: mixed, pause)
        try addProjection(layer.output, of: mixed, to: after)
    }

    /// The rows of every sequence, where all states' rows follow one another.
    func sequences(of states: [NativeState]) -> [Range<Int>] {
        var sequences: [Range<Int>] = []
        var rows = 0
        for state in states {
            for sequence in state.batch.sequences {
                let own = state.batch.rows(ofSequence: sequence)
                sequences.append(rows + own.lowerBound..<rows + own.upperBound)
            }
            rows += state.batch.rowCount
        }
        return sequences
    }

    /// Norms each head where the architecture has head norms, then turns it by the angles of its position. In place.
    ///
    /// - Parameter starts: the position of each sequence's first row; nil = 0 for all.
    func prepareHeads(
        of x: FloatBuffer, _ heads: Int, _ norm: Norm?, _ sequences: [Range<Int>], startingAt starts: [Int]? = nil
    ) throws(PruneError) {
        let size = config.headSize
        let half = size / 2
        let starts = starts ?? Array(repeating: 0, count: sequences.count)
        let angles = try rotary.angles(positions: zip(sequences, starts).map { $0.count + $1 }.max() ?? 0)
        let gain = try norm?.gain.floats(scratch)
        for (sequence, start) in zip(sequences, starts) {
            forEachPiece(of: sequence.count) { rows in
                // Safe: `angles` has a row for every position of the sequence that ends last.
                angles.cosines.withUnsafeBufferPointer { cosines in
                    angles.sines.withUnsafeBufferPointer { sines in
                        guard let cosine = cosines.baseAddress, let sine = sines.baseAddress else { return }
                        for index in rows {
                            let row = x.pointer + (sequence.lowerBound + index) * heads * size
                            if let norm, let gain {
                                norm.apply(row, rows: 0..<heads, width: size, gain: gain, into: row)
                            }
                            let angle = (start + index) * half
                            for head in 0..<heads {
                                Kernels.rotate(
                                    row + head * size, cosine: cosine + angle, sine: sine + angle, half: half)
                            }
                        }
                    }
                }
            }
        }
    }

    /// softmax(q * k^T / sqrt(headSize)) * v for every head, a tile of queries at a time, so that no matrix of
    /// tokens x tokens is ever whole. Keys that no query of a tile sees are not computed.
    func mix(
        _ query: FloatBuffer, _ key: FloatBuffer, _ value: FloatBuffer, _ sequences: [Range<Int>], window: Int?,
        into out: FloatBuffer, _ pause: AttentionPause? = nil
    ) throws(PruneError) {
        let size = config.headSize
        let queryStride = config.headCount * size
        let keyStride = config.kvHeadCount * size
        let group = config.headCount / config.kvHeadCount
        let scale = 1 / Float(size).squareRoot()
        let tile = 128
        let slots = ThreadPool.threads
        let longest = sequences.map(\.count).max() ?? 0
        let scoresPerSlot = min(tile, longest) * min(longest, (window ?? longest) + tile)
        let scores = try scratch.buffer(scoresPerSlot * slots)
        let pieces = attentionPieces(sequences, tile: tile)
        try forEach(pieces, slots: slots, work: tile * longest * size, pause) { piece, slot in
            let queries = piece.queries
            // Safe: a piece sees at most window + tile - 1 keys, for which a slot has room.
            let firstKey = window.map { max(0, queries.lowerBound - $0 + 1) } ?? 0
            let keys = queries.upperBound - firstKey
            let weights = scores.pointer + slot * scoresPerSlot
            let q = query.pointer + (piece.sequence.lowerBound + queries.lowerBound) * queryStride + piece.head * size
            let keyOffset = (piece.sequence.lowerBound + firstKey) * keyStride + piece.head / group * size
            BLAS.multiplyTransposed(
                m: queries.count, n: keys, k: size, alpha: scale, q, queryStride, key.pointer + keyOffset, keyStride,
                weights, keys)
            for (row, position) in queries.enumerated() {
                let visible = (window.map { max(0, position - $0 + 1) } ?? 0) - firstKey..<position + 1 - firstKey
                let own = weights + row * keys
                own.update(repeating: 0, count: visible.lowerBound)
                Kernels.softmax(own + visible.lowerBound, visible.count)
                (own + visible.upperBound).update(repeating: 0, count: keys - visible.upperBound)
            }
            let mixed = out.pointer + (piece.sequence.lowerBound + queries.lowerBound) * queryStride + piece.head * size
            BLAS.multiply(
                m: queries.count, n: size, k: keys, weights, keys, value.pointer + keyOffset, keyStride, mixed,
                queryStride)
        }
    }

    /// Calls `body` with every piece, on up to `slots` threads, and `pause` now and then.
    ///
    /// - Parameter work: multiplications of a piece at most.
    func forEach(
        _ pieces: [AttentionPiece], slots: Int, work: Int, _ pause: AttentionPause?,
        _ body: @escaping (_ piece: AttentionPiece, _ slot: Int) -> Void
    ) throws(PruneError) {
        // Some tenths of a second between two pauses, and work for every thread.
        let atOnce = pause == nil ? pieces.count : max(slots, (1 << 32) / max(work, 1))
        for first in stride(from: 0, to: pieces.count, by: max(atOnce, 1)) {
            let count = min(atOnce, pieces.count - first)
            ThreadPool.forEach(count, slots: slots) { index, slot in body(pieces[first + index], slot) }
            try pause?()
        }
    }

    /// All heads of all sequences, `tile` queries at a time. The pieces that see most keys come first, so that the threads
    /// finish together.
    func attentionPieces(_ sequences: [Range<Int>], tile: Int) -> [AttentionPiece] {
        var pieces: [AttentionPiece] = []
        for sequence in sequences {
            for head in 0..<config.headCount {
                for first in stride(from: 0, to: sequence.count, by: tile) {
                    let queries = first..<min(first + tile, sequence.count)
                    pieces.append(AttentionPiece(head: head, sequence: sequence, queries: queries))
                }
            }
        }
        return pieces.reversed()
    }
}
