// SPDX-License-Identifier: Apache-2.0
/// One piece of attention's pullback for one thread: the query heads that share a key and value head, over a sequence. So
/// the gradients of keys and values are summed by one thread, in a fixed order.
struct AttentionPullbackPiece {
    let kvHead: Int
    /// Rows of the sequence among all rows that go through the layer.
    let sequence: Range<Int>
}

extension NativeModel {
    /// Back through output(mix(heads(x))), from the gradient dy of its result to that of x.
    func pullbackAttention<P: Products>(
        _ layer: AttentionWeights, _ call: SublayerPullback, _ x: P.Rows, _ dy: P.Rows, _ products: P
    ) throws(PruneError) -> FloatBuffer {
        let sequences = sequences(of: call.before)
        let projected = try projectedHeads(layer, x, call.runs, products)
        // The gradients of norms and clips need what went into them.
        let isChanged = layer.queryNorm != nil || layer.keyNorm != nil || layer.plan.clip != nil
        let heads =
            isChanged
            ? AttentionRows(
                query: try copy(of: projected.query), key: try copy(of: projected.key),
                value: try copy(of: projected.value)) : projected
        try prepare(heads, layer, sequences)
        let d = try products.pullback([(dy, layer.output)], runs: call.runs)
        if let sums = call.sums {
            let mixed = try products.mix(heads, layer, sequences, nil)
            try products.addWeightGradient(dy, mixed, of: layer.output, matrix: layer.inputs.count, to: sums)
        }
        let gradients = AttentionRows(
            query: try scratch.buffer(heads.query.count), key: try scratch.buffer(heads.key.count),
            value: try scratch.buffer(heads.value.count))
        let ofSinks = try layer.sinks.flatMap { sinks throws(PruneError) in
            try call.sums?.place(of: sinks.tensor) == nil ? nil : scratch.buffer(call.rows * config.headCount)
        }
        try products.mixPullback(heads, d, layer, sequences, into: gradients, sinks: ofSinks)
        if let ofSinks { call.sums?.add(columnsOf: ofSinks.pointer, rows: call.rows, toBias: layer.sinks) }
        let ofHeads = try pullbackPreparation(of: gradients, at: projected, layer, sequences, call.sums)
        let all =
            layer.inputs.count == 3
            ? [ofHeads.query, ofHeads.key, ofHeads.value] : [try joinedHeads(ofHeads, rows: call.rows)]
        var outputs: [(gradient: P.Rows, projection: Projection)] = []
        for (index, projection) in layer.inputs.enumerated() {
            let gradient = try products.rows(all[index], count: call.rows)
            if let sums = call.sums {
                try products.addWeightGradient(gradient, x, of: projection, matrix: index, to: sums)
            }
            outputs.append((gradient, projection))
        }
        return try products.pullback(outputs, runs: call.runs)
    }

    /// Back through `prepare`: turns gradients the other way, in place, then through clip and norm if there are any.
    ///
    /// - Parameter projected: what was prepared.
    private func pullbackPreparation(
        of gradients: AttentionRows, at projected: AttentionRows, _ layer: AttentionWeights, _ sequences: [Range<Int>],
        _ sums: (any WeightGradientSums)?
    ) throws(PruneError) -> AttentionRows {
        let plan = layer.plan
        let query = HeadNorm(
            try layer.queryNorm?.prepared(scratch), plan.queryNorm?.span, config.headCount, config.headSize)
        let key = HeadNorm(
            try layer.keyNorm?.prepared(scratch), plan.keyNorm?.span, config.kvHeadCount, config.headSize)
        if let clip = plan.clip {
            stop(gradients.value.pointer, beyond: clip, projected.value.pointer, projected.value.count)
        }
        let results = AttentionRows(
            query: try pullbackPreparation(of: gradients.query, query, at: projected.query, layer, sequences),
            key: try pullbackPreparation(of: gradients.key, key, at: projected.key, layer, sequences),
            value: gradients.value)
        if let sums {
            // Turned back in place, they are now with respect to what the norms give.
            try addGradient(of: layer.queryNorm, query, gradients.query, at: projected.query, to: sums)
            try addGradient(of: layer.keyNorm, key, gradients.key, at: projected.key, to: sums)
        }
        return results
    }

    private func addGradient(
        of norm: Norm?, _ heads: HeadNorm, _ dy: FloatBuffer, at x: FloatBuffer, to sums: any WeightGradientSums
    ) throws(PruneError) {
        guard let norm else { return }
        try addNormGradient(
            of: norm, dy.pointer, at: x.pointer,
            NormRows(
                rows: x.count / (heads.count * heads.width), each: heads.count, width: heads.width, stride: heads.stride
            ),
            to: sums)
    }

    private func pullbackPreparation(
        of gradient: FloatBuffer, _ norm: HeadNorm, at projected: FloatBuffer, _ layer: AttentionWeights,
        _ sequences: [Range<Int>]
    ) throws(PruneError) -> FloatBuffer {
        let size = config.headSize
        let width = norm.heads * size
        let result = try norm.isThere ? scratch.buffer(gradient.count) : gradient
        let clip = layer.plan.clip
        // What the clip was applied to.
        let clipped = try clip == nil ? nil : copy(of: projected)
        for sequence in sequences {
            let turn = try layer.rotary.map { table throws(PruneError) in
                HeadTurn(table.parameters, try table.angles(length: sequence.count))
            }
            forEachPiece(of: sequence.count) { positions in
                for position in positions {
                    let offset = (sequence.lowerBound + position) * width
                    let own = gradient.pointer + offset
                    turn?.applyBack(own, heads: norm.heads, size: size, position: position)
                    if let clip, let clipped {
                        norm.apply(clipped.pointer + offset)
                        stop(own, beyond: clip, clipped.pointer + offset, width)
                    }
                    if norm.isThere {
                        norm.pullback(projected.pointer + offset, of: own, into: result.pointer + offset)
                    }
                }
            }
        }
        return result
    }

    /// Back through `mix`, from the gradient `d` of what it gives. The weights P of the values are computed again, a tile of
    /// queries at a time, so that no matrix of tokens x tokens is ever whole:
    ///
    ///     dV = P^T d    dP = d V^T    dS = scale * P * (dP - rowsum(P * dP))    dQ = dS K    dK = dS^T Q
    ///
    /// where a cap of scores multiplies dS by its slope.
    func pullbackMix(
        _ rows: AttentionRows, _ d: FloatBuffer, _ sequences: [Range<Int>], _ layer: AttentionWeights,
        into gradients: AttentionRows, sinks: FloatBuffer? = nil
    ) throws(PruneError) {
        let heads = config.headCount
        let window = layer.plan.window
        let softmax = try ScoreSoftmax(layer, scratch)
        let size = config.headSize
        let (queryStride, keyStride) = (config.headCount * size, config.kvHeadCount * size)
        let group = config.headCount / config.kvHeadCount
        let scale = layer.plan.scale
        let tile = 128
        let slots = ThreadPool.threads
        let longest = sequences.map(\.count).max() ?? 0
        let scoresPerSlot = min(tile, longest) * min(longest, (window ?? longest) + tile)
        // Twice the scores of a tile, and a row that is kept of capped ones.
        let slotFloats = 2 * scoresPerSlot + (softmax.isPlain ? 0 : longest)
        let room = try scratch.buffer(slotFloats * slots)
        let pieces = attentionPullbackPieces(sequences)
        ThreadPool.forEach(pieces.count, slots: slots) { index, slot in
            let (kvHead, sequence) = (pieces[index].kvHead, pieces[index].sequence)
            // Safe: a tile sees at most window + tile - 1 keys, for which a slot has room, twice.
            let weights = room.pointer + slot * slotFloats
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
                        softmax.pullback(
                            own, scores + row * keys + visible.lowerBound, scale: scale, visible.count, head: head,
                            weights + 2 * scoresPerSlot,
                            sink: sinks.map { $0.pointer + (sequence.lowerBound + position) * heads + head })
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

/// Takes gradients away where a value is held at a limit.
private func stop(
    _ gradient: UnsafeMutablePointer<Float>, beyond limit: Float, _ x: UnsafePointer<Float>, _ count: Int
) {
    for index in 0..<count where abs(x[index]) > limit { gradient[index] = 0 }
}
