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
        let restarted = restarting(caches, tokens)
        guard restarted.isEmpty else {
            return try advance(
                caches, by: tokens, restarting: restarted, under: mask, adapters, visit: visit, pause: pause)
        }
        let data = try TokenData(tokens: tokens.flatMap { $0 }, lengths: tokens.map(\.count), weights: nil)
        let batch = TokenBatch(data, 0..<data.sequenceCount)
        let applied = mask.kept
        var state = try start(batch, at: caches.map(\.length))
        try visit(nil)
        return try BLAS.products { () throws(PruneError) in
            for (index, sublayer) in applied.enumerated() {
                if index + 1 < applied.count, adapters[applied[index + 1]] == nil { askAhead(for: applied[index + 1]) }
                state = try settled(state, before: sublayer)
                if let adapter = adapters[sublayer] {
                    let after = NativeState(batch, try scratch.buffer(state.values.count), before: sublayer)
                    // Safe: both states have a row of `width` values for each row of the batch.
                    try AdapterLayer(adapter, scratch).apply(
                        state.values.pointer, rows: batch.rowCount, into: after.values.pointer)
                    state = after
                } else {
                    let after = try successor(of: state, after: sublayer)
                    try readingSublayer(sublayer) { () throws(PruneError) in
                        try apply(sublayer, state, after, caches, pause)
                    }
                    state = after
                }
                try visit(sublayer)
            }
            state = try settledAtEnd(state)
            for (cache, own) in zip(caches, tokens) { cache.advance(by: own) }
            let rows = batch.lastRows
            let logits = try scratch.buffer(rows.count * config.vocabularySize)
            try readingHead { () throws(PruneError) in
                try makeLogits(of: finalNormed(state, at: rows), runs: [rows.count], into: logits.pointer)
            }
            return logits
        }
    }

    /// The caches whose sequences grow beyond a length up to which their keys were made.
    private func restarting(_ caches: [KeyValueCache], _ tokens: [[Int32]]) -> Set<Int> {
        let limits = Set(weights.sublayers.compactMap { $0.attention?.rotary?.parameters.lastUnchangedLength })
        return Set(
            caches.indices.filter { index in
                let length = caches[index].length
                return length > 0 && limits.contains { length <= $0 && length + tokens[index].count > $0 }
            })
    }

    /// `advance` where some sequences are computed again from their first token on, as models whose angles depend on the
    /// length of a sequence ask for.
    private func advance(
        _ caches: [KeyValueCache], by tokens: [[Int32]], restarting restarted: Set<Int>, under mask: KeepMask,
        _ adapters: [Int: Adapter], visit: (_ sublayer: Int?) throws(PruneError) -> Void, pause: AttentionPause?
    ) throws(PruneError) -> FloatBuffer {
        let logits = try scratch.buffer(caches.count * config.vocabularySize)
        for group in [restarted.sorted(), caches.indices.filter { !restarted.contains($0) }] where !group.isEmpty {
            let own = group.map { restarted.contains($0) ? caches[$0].restart() + tokens[$0] : tokens[$0] }
            let found = try advance(
                group.map { caches[$0] }, by: own, under: mask, adapters, visit: visit, pause: pause)
            for (place, index) in group.enumerated() {
                let width = config.vocabularySize
                (logits.pointer + index * width).update(from: found.pointer + place * width, count: width)
            }
        }
        return logits
    }

    private func apply(
        _ sublayer: Int, _ before: NativeState, _ after: NativeState, _ caches: [KeyValueCache],
        _ pause: AttentionPause?
    ) throws(PruneError) {
        let block = sublayer / 2
        let rows = before.batch.rowCount
        guard sublayer % 2 == 0 else {
            // A few rows read the weights once as they are stored, whatever the model computes in.
            if compute == .float32 || rows <= MatrixProduct.fewRows {
                return try apply(sublayer, [before], [after], with: Float32Products(self))
            }
            return try apply(sublayer, [before], [after], with: BFloat16Products(self))
        }
        let keep: KeyValueReader = { (keys, values) throws(PruneError) in
            try self.store(keys, values, of: before.batch, block: block, in: caches)
        }
        if caches.contains(where: { $0.length > 0 }) {
            return try apply(
                sublayer, [before], [after], with: Float32Products(self), SublayerContext(keep: keep, caches: caches))
        }
        // All that a query sees is among the new rows: attention is that of a whole sequence.
        let context = SublayerContext(keep: keep, pause: pause)
        switch compute {
        case .float32: try apply(sublayer, [before], [after], with: Float32Products(self), context)
        case .bfloat16: try apply(sublayer, [before], [after], with: BFloat16Products(self), context)
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

    /// softmax(cap(scale * q * k^T)) * v for one query of every sequence over its cache.
    ///
    /// The query heads of a group are rows of one product, since they share their keys and values. fp32 whatever the products
    /// of the sublayer multiply in: it is the lesser part, and the caches hold fp32.
    func mix(
        _ query: FloatBuffer, _ layer: AttentionWeights, _ caches: [KeyValueCache], block: Int
    ) throws(PruneError) -> FloatBuffer {
        let out = try scratch.buffer(query.count)
        let softmax = try ScoreSoftmax(layer, scratch)
        let size = config.headSize
        let groups = config.kvHeadCount
        let queryHeads = config.headCount
        let heads = queryHeads / groups
        let scale = layer.plan.scale
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
            for row in 0..<heads { softmax.apply(weights + row * count, count, head: group * heads + row) }
            BLAS.multiply(
                m: heads, n: size, k: count, weights, count, values.pointer + group * size, groups * size,
                out.pointer + head, size)
        }
        return out
    }
}
