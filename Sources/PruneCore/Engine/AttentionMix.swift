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

extension NativeModel {
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

    /// softmax(cap(scale * q * k^T)) * v for every head, a tile of queries at a time, so that no matrix of tokens x tokens is
    /// ever whole. Keys that no query of a tile sees are not computed.
    ///
    /// Causal within each sequence; a query at position i sees the keys j with i - window < j <= i. Query heads share the
    /// key and value head of their group.
    func mix(
        _ heads: AttentionRows, _ layer: AttentionWeights, _ sequences: [Range<Int>], into out: FloatBuffer,
        _ pause: AttentionPause? = nil
    ) throws(PruneError) {
        let (query, key, value) = (heads.query, heads.key, heads.value)
        let window = layer.plan.window
        let softmax = try ScoreSoftmax(layer, scratch)
        let size = config.headSize
        let queryStride = config.headCount * size
        let keyStride = config.kvHeadCount * size
        let group = config.headCount / config.kvHeadCount
        let scale = layer.plan.scale
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
                softmax.apply(own + visible.lowerBound, visible.count, head: piece.head)
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

/// What turns the scaled scores of a query into weights of the values: a cap, if there is one, and softmax, beside the
/// head's sink if it has one.
struct ScoreSoftmax: Sendable {
    private let softCap: Float?
    private let sinks: FloatBuffer?

    init(_ layer: AttentionWeights, _ scratch: BufferPool) throws(PruneError) {
        softCap = layer.plan.softCap
        sinks = try layer.sinks?.floats(scratch)
    }

    /// Whether it is softmax alone.
    var isPlain: Bool { softCap == nil && sinks == nil }

    /// In place; `count` >= 1.
    func apply(_ scores: UnsafeMutablePointer<Float>, _ count: Int, head: Int) {
        if let softCap { Kernels.cap(scores, at: softCap, count) }
        if let sinks {
            Kernels.softmax(scores, beside: sinks.pointer[head], count)
        } else {
            Kernels.softmax(scores, count)
        }
    }

    /// The gradient of scaled scores times `scale`, in the place of d, that of the weights; makes the weights of the scores.
    ///
    /// - Parameters:
    ///   - room: `count` floats, if there is a cap.
    ///   - sink: where the gradient with respect to the score of the sink goes; nil = it is not wanted.
    func pullback(
        _ scores: UnsafeMutablePointer<Float>, _ d: UnsafeMutablePointer<Float>, scale: Float, _ count: Int, head: Int,
        _ room: UnsafeMutablePointer<Float>, sink: UnsafeMutablePointer<Float>? = nil
    ) {
        if let softCap {
            Kernels.cap(scores, at: softCap, count)
            room.update(from: scores, count: count)
        }
        if let sinks {
            Kernels.softmax(scores, beside: sinks.pointer[head], count)
        } else {
            Kernels.softmax(scores, count)
        }
        if let sink {
            // The share of the sink is what those of the keys leave, and nothing is weighed by it.
            let share = 1 - (0..<count).reduce(0.0) { $0 + Double(scores[$1]) }
            sink.pointee = Float(-share * Kernels.dot(scores, d, count))
        }
        Kernels.softmaxPullback(scores, d, scale: scale, count)
        if let softCap { Kernels.capPullback(room, d, cap: softCap, count) }
    }
}
