// SPDX-License-Identifier: Apache-2.0
/// Queries, keys and values of all rows that go through an attention sublayer, or the gradients with respect to them:
/// rows of headCount * headSize, or kvHeadCount * headSize.
struct AttentionRows {
    let query, key, value: FloatBuffer
}

/// One piece of attention's pullback for one thread: the query heads that share a key and value head, over a sequence. So
/// the gradients of keys and values are summed by one thread, in a fixed order.
struct AttentionPullbackPiece {
    let kvHead: Int
    /// Rows of the sequence among all rows that go through the layer.
    let sequence: Range<Int>
}

extension NativeModel {
    /// Through h + output(softmax(rotated q * rotated k^T / sqrt(headSize)) * v); see `attend`.
    func pullbackAttention(_ call: SublayerPullback) throws(PruneError) {
        let layer = weights.attention[call.block]
        let sequences = sequences(of: call.before)
        let x = try normed(layer.norm, call.before)
        let projected = try project([layer.query, layer.key, layer.value], of: x, runs: call.runs)
        let rows = AttentionRows(query: projected[0], key: projected[1], value: projected[2])
        let d = try scratch.buffer(rows.query.count)
        let dy = try gathered(call.gradients)
        try MatrixProduct.pullback(
            [GradientTerm(UnsafePointer(dy.pointer), layer.output.weight)], runs: call.runs, into: d.pointer,
            scratch: scratch)
        let gradients = try pullbackHeads(of: rows, layer, sequences) { (rows, gradients) throws(PruneError) in
            if let sums = call.sums { try addOutputGradient(to: sums, rows, sequences, dy, call) }
            try pullbackMix(rows, d, sequences, window: config.windows[call.block], into: gradients)
        }
        call.sums?.add([gradients.query, gradients.key, gradients.value], of: x, rows: call.rows)
        try pullbackInputs(
            [(gradients.query, layer.query), (gradients.key, layer.key), (gradients.value, layer.value)], layer.norm,
            call)
    }

    /// The gradients with respect to projected rows, from `mixed`, which gives those with respect to what `prepareHeads`
    /// makes of them: given the prepared rows, and where the gradients go. Prepares `rows` in place.
    func pullbackHeads(
        of rows: AttentionRows, _ layer: AttentionWeights, _ sequences: [Range<Int>],
        mixed: (_ rows: AttentionRows, _ gradients: AttentionRows) throws(PruneError) -> Void
    ) throws(PruneError) -> AttentionRows {
        // The gradient of a norm needs what went into it.
        let query = try layer.queryNorm.map { norm throws(PruneError) in (norm, input: try copy(of: rows.query)) }
        let key = try layer.keyNorm.map { norm throws(PruneError) in (norm, input: try copy(of: rows.key)) }
        try prepareHeads(of: rows.query, config.headCount, layer.queryNorm, sequences)
        try prepareHeads(of: rows.key, config.kvHeadCount, layer.keyNorm, sequences)
        let gradients = AttentionRows(
            query: try scratch.buffer(rows.query.count), key: try scratch.buffer(rows.key.count),
            value: try scratch.buffer(rows.value.count))
        try mixed(rows, gradients)
        return AttentionRows(
            query: try pullbackPreparation(of: gradients.query, config.headCount, query, sequences),
            key: try pullbackPreparation(of: gradients.key, config.kvHeadCount, key, sequences), value: gradients.value)
    }

    func copy(of buffer: FloatBuffer) throws(PruneError) -> FloatBuffer {
        let copy = try scratch.buffer(buffer.count)
        buffer.copy(to: copy.pointer)
        return copy
    }

    /// Back through `prepareHeads`: turns the gradient the other way, in place, then through the head norm if there is one.
    ///
    /// - Parameter norm: the head norm, and the rows that it was applied to.
    private func pullbackPreparation(
        of gradient: FloatBuffer, _ heads: Int, _ norm: (norm: Norm, input: FloatBuffer)?, _ sequences: [Range<Int>]
    ) throws(PruneError) -> FloatBuffer {
        let size = config.headSize
        let half = size / 2
        let angles = try rotary.angles(positions: sequences.map(\.count).max() ?? 0)
        let gain = try norm?.norm.gain.floats(scratch)
        let result = try norm == nil ? gradient : scratch.buffer(gradient.count)
        for sequence in sequences {
            forEachPiece(of: sequence.count) { positions in
                // Safe: `angles` has a row for every position of the longest sequence.
                angles.cosines.withUnsafeBufferPointer { cosines in
                    angles.sines.withUnsafeBufferPointer { sines in
                        guard let cosine = cosines.baseAddress, let sine = sines.baseAddress else { return }
                        for position in positions {
                            let angle = position * half
                            for head in 0..<heads {
                                let offset = ((sequence.lowerBound + position) * heads + head) * size
                                let own = gradient.pointer + offset
                                Kernels.rotateBack(own, cosine: cosine + angle, sine: sine + angle, half: half)
                                guard let norm, let gain else { continue }
                                let x = norm.input.pointer + offset
                                (result.pointer + offset).update(repeating: 0, count: size)
                                Kernels.addNormPullback(
                                    x, scale: norm.norm.scale(x, width: size), gain: gain.pointer, of: own,
                                    to: result.pointer + offset, size)
                            }
                        }
                    }
                }
            }
        }
        return result
    }

    /// Back through `mix`, from the gradient `d` of what it gives. The weights P of the values are computed again, a tile of
    /// queries at a time, so that no matrix of tokens x tokens is ever whole:
    ///
    ///     dV = P^T d    dP = d V^T    dS = P * (dP - rowsum(P * dP)) / sqrt(headSize)    dQ = dS K    dK = dS^T Q
    private func pullbackMix(
        _ rows: AttentionRows, _ d: FloatBuffer, _ sequences: [Range<Int>], window: Int?, into gradients: AttentionRows
    ) throws(PruneError) {
        let size = config.headSize
        let (queryStride, keyStride) = (config.headCount * size, config.kvHeadCount * size)
        let group = config.headCount / config.kvHeadCount
        let scale = 1 / Float(size).squareRoot()
        let tile = 128
        let slots = ThreadPool.threads
        let longest = sequences.map(\.count).max() ?? 0
        let scoresPerSlot = min(tile, longest) * min(longest, (window ?? longest) + tile)
        let room = try scratch.buffer(2 * scoresPerSlot * slots)
        let pieces = attentionPullbackPieces(sequences)
        ThreadPool.forEach(pieces.count, slots: slots) { index, slot in
            let (kvHead, sequence) = (pieces[index].kvHead, pieces[index].sequence)
            // Safe: a tile sees at most window + tile - 1 keys, for which a slot has room, twice.
            let weights = room.pointer + slot * 2 * scoresPerSlot
            let scores = weights + scoresPerSlot
            for row in sequence {
                let offset = row * keyStride + kvHead * size
                (gradients.key.pointer + offset).update(repeating: 0, count: size)
                (gradients.value.pointer + offset).update(repeating: 0, count: size)
            }
            for head in kvHead * group..<(kvHead + 1) * group {
                for first in stride(from: 0, to: sequence.count, by: tile) {
                    let queries = first..<min(first + tile, sequence.count)
                    let firstKey = window.map { max(0, queries.lowerBound - $0 + 1) } ?? 0
                    let keys = queries.upperBound - firstKey
                    let queryOffset = (sequence.lowerBound + queries.lowerBound) * queryStride + head * size
                    let keyOffset = (sequence.lowerBound + firstKey) * keyStride + kvHead * size
                    let (q, k) = (rows.query.pointer + queryOffset, rows.key.pointer + keyOffset)
                    BLAS.multiplyTransposed(
                        m: queries.count, n: keys, k: size, alpha: scale, q, queryStride, k, keyStride, weights, keys)
                    BLAS.multiplyTransposed(
                        m: queries.count, n: keys, k: size, d.pointer + queryOffset, queryStride,
                        rows.value.pointer + keyOffset, keyStride, scores, keys)
                    for (row, position) in queries.enumerated() {
                        let visible =
                            (window.map { max(0, position - $0 + 1) } ?? 0) - firstKey..<position + 1 - firstKey
                        for line in [weights + row * keys, scores + row * keys] {
                            line.update(repeating: 0, count: visible.lowerBound)
                            (line + visible.upperBound).update(repeating: 0, count: keys - visible.upperBound)
                        }
                        let own = weights + row * keys + visible.lowerBound
                        Kernels.softmax(own, visible.count)
                        Kernels.softmaxPullback(
                            own, scores + row * keys + visible.lowerBound, scale: scale, visible.count)
                    }
                    BLAS.multiplyTransposingLeft(
                        m: keys, n: size, k: queries.count, weights, keys, d.pointer + queryOffset, queryStride,
                        beta: 1,
                        gradients.value.pointer + keyOffset, keyStride)
                    BLAS.multiply(
                        m: queries.count, n: size, k: keys, scores, keys, k, keyStride,
                        gradients.query.pointer + queryOffset, queryStride)
                    BLAS.multiplyTransposingLeft(
                        m: keys, n: size, k: queries.count, scores, keys, q, queryStride, beta: 1,
                        gradients.key.pointer + keyOffset, keyStride)
                }
            }
        }
    }

    /// All key and value heads of all sequences, the longest first, so that the threads finish together.
    func attentionPullbackPieces(_ sequences: [Range<Int>]) -> [AttentionPullbackPiece] {
        sequences.sorted { ($0.count, $1.lowerBound) > ($1.count, $0.lowerBound) }.flatMap { sequence in
            (0..<config.kvHeadCount).map { AttentionPullbackPiece(kvHead: $0, sequence: sequence) }
        }
    }
}
