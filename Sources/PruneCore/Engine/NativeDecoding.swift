// SPDX-License-Identifier: Apache-2.0
extension NativeModel {
    /// Computes new tokens of some sequences together, after the tokens in their caches, and adds them to these.
    ///
    /// - Parameters:
    ///   - tokens: the new ones of each sequence: any number of them where its cache is empty, one where it is not; the
    ///     sequences of a call are all of one kind.
    ///   - mask: the same for every call with these caches.
    ///   - adapters: by sublayer, in whose place they stand; the same for every call with these caches.
    ///   - visit: called with nil after the embeddings, and after every sublayer; what it throws ends the call, and the
    ///     caches are of no more use.
    ///   - pause: called within the attention of long sequences; what it throws ends the call likewise.
    /// - Returns: for each sequence, the logits of what follows its last token: sequences x vocabularySize.
    ///
    /// Errors: `.data` for an id outside the vocabulary; `.memory`.
    func advance(
        _ caches: [KeyValueCache], by tokens: [[Int32]], under mask: KeepMask, _ adapters: [Int: Adapter] = [:],
        visit: (_ sublayer: Int?) throws(PruneError) -> Void = { (_) throws(PruneError) in },
        pause: AttentionPause? = nil
    ) throws(PruneError) -> FloatBuffer {
        guard caches.count == tokens.count,
            caches.allSatisfy({ $0.length == 0 }) || zip(caches, tokens).allSatisfy({ $0.length > 0 && $1.count == 1 })
        else {
            throw PruneError(.internal, "several tokens, or a first one, were to be added to a sequence under way")
        }
        let data = try TokenData(tokens: tokens.flatMap { $0 }, lengths: tokens.map(\.count), weights: nil)
        let batch = TokenBatch(data, 0..<data.sequenceCount)
        let applied = mask.kept
        var state = try native(try start(batch))
        try visit(nil)
        return try BLAS.products { () throws(PruneError) in
            for (index, sublayer) in applied.enumerated() {
                if index + 1 < applied.count, adapters[applied[index + 1]] == nil { askAhead(for: applied[index + 1]) }
                let after = NativeState(batch, try scratch.buffer(state.values.count))
                if let adapter = adapters[sublayer] {
                    // Safe: both states have a row of `width` values for each row of the batch.
                    try AdapterLayer(adapter, scratch).apply(
                        state.values.pointer, rows: batch.rowCount, into: after.values.pointer)
                } else {
                    try readingSublayer(sublayer) { () throws(PruneError) in
                        try apply(sublayer, state, after, caches, pause)
                    }
                }
                state = after
                try visit(sublayer)
            }
            for (cache, own) in zip(caches, tokens) { cache.advance(by: own.count) }
            let rows = batch.lastRows
            let logits = try scratch.buffer(rows.count * config.vocabularySize)
            try readingHead { () throws(PruneError) in
                let x = try finalNormed(state, at: rows)
                try project(
                    Projection(weight: weights.head, bias: nil), of: x, runs: [rows.count], into: logits.pointer)
            }
            return logits
        }
    }

    private func apply(
        _ sublayer: Int, _ before: NativeState, _ after: NativeState, _ caches: [KeyValueCache],
        _ pause: AttentionPause?
    ) throws(PruneError) {
        let block = sublayer / 2
        let rows = before.batch.rowCount
        if sublayer % 2 == 1 {
            // A few rows read the weights once as they are stored, whatever the model computes in.
            if compute == .float32 || rows <= MatrixProduct.fewRows {
                return try feedForward(block: block, [before], [after])
            }
            return try feedForwardRounded(block: block, [before], [after])
        }
        if caches.contains(where: { $0.length > 0 }) {
            return try attendToCaches(block: block, before, after, caches)
        }
        // All that a query sees is among the new rows: attention is that of a whole sequence.
        let keep: KeyValueReader = { (keys, values) throws(PruneError) in
            try self.store(keys, values, of: before.batch, block: block, in: caches)
        }
        switch compute {
        case .float32: try attend(block: block, [before], [after], keep: keep, pause: pause)
        case .bfloat16: try attendRounded(block: block, [before], [after], keep: keep, pause: pause)
        }
    }

    private func store(
        _ keys: FloatBuffer, _ values: FloatBuffer, of batch: TokenBatch, block: Int, in caches: [KeyValueCache]
    ) throws(PruneError) {
        let width = config.kvHeadCount * config.headSize
        for (cache, sequence) in zip(caches, batch.sequences) {
            let rows = batch.rows(ofSequence: sequence)
            let first = rows.lowerBound * width
            try cache.store(block: block, keys.pointer + first, values.pointer + first, count: rows.count)
        }
    }

    /// `attend` for one new token of every sequence, with the keys and values of earlier ones from the caches.
    /// Attention itself is fp32 whatever the products multiply in: it is the lesser part, and the caches hold fp32.
    private func attendToCaches(
        block: Int, _ before: NativeState, _ after: NativeState, _ caches: [KeyValueCache]
    ) throws(PruneError) {
        let layer = weights.attention[block]
        let sequences = sequences(of: [before])
        let starts = caches.map(\.length)
        let x = try normed(layer.norm, [before], startingSums: [after])
        let projected = try project([layer.query, layer.key, layer.value], of: x, runs: [before.batch.rowCount])
        let (query, key, value) = (projected[0], projected[1], projected[2])
        try prepareHeads(of: query, config.headCount, layer.queryNorm, sequences, startingAt: starts)
        try prepareHeads(of: key, config.kvHeadCount, layer.keyNorm, sequences, startingAt: starts)
        try store(key, value, of: before.batch, block: block, in: caches)
        let mixed = try scratch.buffer(query.count)
        try mix(query, caches, block: block, into: mixed)
        try addProjection(layer.output, of: mixed, to: [after])
    }

    /// softmax(q * k^T / sqrt(headSize)) * v for one query of every sequence over its cache.
    ///
    /// The query heads of a group are rows of one product, since they share their keys and values.
    private func mix(
        _ query: FloatBuffer, _ caches: [KeyValueCache], block: Int, into out: FloatBuffer
    ) throws(PruneError) {
        let size = config.headSize
        let groups = config.kvHeadCount
        let queryHeads = config.headCount
        let heads = queryHeads / groups
        let scale = 1 / Float(size).squareRoot()
        let seen = try caches.map { cache throws(PruneError) in try cache.visible(block: block) }
        let longest = seen.map(\.count).max() ?? 0
        // Waking the threads takes longer than a small product does.
        let work = seen.reduce(0) { $0 + $1.count } * queryHeads * size
        let slots = work < 1 << 16 ? 1 : ThreadPool.threads
        let scores = try scratch.buffer(slots * heads * longest)
        ThreadPool.forEach(seen.count * groups, slots: slots) { index, slot in
            let (keys, values, count) = seen[index / groups]
            let group = index % groups
            // Safe: a slot has room for a group's scores of the longest sequence; `query` and `out` have headCount
            // heads for each sequence, and the cache `count` rows of `groups` heads.
            let weights = scores.pointer + slot * heads * longest
            let head = (index / groups * queryHeads + group * heads) * size
            BLAS.multiplyTransposed(
                m: heads, n: count, k: size, alpha: scale, query.pointer + head, size, keys.pointer + group * size,
                groups * size, weights, count)
            for row in 0..<heads { Kernels.softmax(weights + row * count, count) }
            BLAS.multiply(
                m: heads, n: size, k: count, weights, count, values.pointer + group * size, groups * size,
                out.pointer + head, size)
        }
    }
}
