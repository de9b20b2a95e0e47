// SPDX-License-Identifier: Apache-2.0
/// What a sublayer is to do besides: attention while text is written, a feed-forward while its neurons are scored.
struct SublayerContext {
    /// Given the prepared keys and the values of all rows.
    var keep: KeyValueReader?
    /// nil = attention is computed at one go.
    var pause: AttentionPause?
    /// Caches of which each row continues one; empty = the rows are whole sequences.
    var caches: [KeyValueCache] = []
    /// Told the inputs of a feed-forward's last product.
    var neurons: NeuronReader?
}

extension NativeModel {
    /// h -> last(h + scale * after(update(before(x)))); see `SublayerPlan`. The one forward of all families.
    ///
    /// - Parameters:
    ///   - before: settled before the sublayer.
    ///   - after: where the states after it go.
    func apply<P: Products>(
        _ sublayer: Int, _ before: [NativeState], _ after: [NativeState], with products: P,
        _ context: SublayerContext = SublayerContext()
    ) throws(PruneError) {
        let own = weights.sublayers[sublayer]
        let sources = own.sources(before, of: sublayer)
        /// Whether the last product is added to the states as it is made.
        let addsProduct = own.plan.addsPlainly && own.lastProjection != nil && !own.plan.readsBlockInput
        let x = try products.input(
            own.before, of: sources, startingSums: addsProduct ? after.map(\.values) : nil)
        if addsProduct, let (projection, inner) = try lastProduct(sublayer, x, before, products, context) {
            return try products.add(
                projection, of: inner, to: before.map(\.values), giving: after.map(\.values),
                runs: before.map(\.batch.rowCount))
        }
        try add(try update(sublayer, x, before, products, context), own, before, after)
    }

    /// What the sublayer adds, before its norm: rows x width.
    ///
    /// - Parameter x: its normed input.
    func update<P: Products>(
        _ sublayer: Int, _ x: P.Rows, _ states: [NativeState], _ products: P,
        _ context: SublayerContext = SublayerContext()
    ) throws(PruneError) -> FloatBuffer {
        let runs = states.map(\.batch.rowCount)
        if let (projection, inner) = try lastProduct(sublayer, x, states, products, context) {
            return try products.project([projection], of: inner, runs: runs)[0]
        }
        guard case .mixture(let layer) = weights.sublayers[sublayer].update else {
            throw PruneError(.internal, "a sublayer that is no mixture has no last projection")
        }
        return try mixture(layer, x, runs, products)
    }

    /// The projection whose product is the update, and the rows that it takes; nil for a mixture, whose update is a sum.
    func lastProduct<P: Products>(
        _ sublayer: Int, _ x: P.Rows, _ states: [NativeState], _ products: P, _ context: SublayerContext
    ) throws(PruneError) -> (Projection, P.Rows)? {
        let runs = states.map(\.batch.rowCount)
        switch weights.sublayers[sublayer].update {
        case .attention(let layer):
            let sequences = sequences(of: states)
            let heads = try heads(layer, x, sequences, startingAt: context.caches.map(\.length), runs, products)
            try context.keep?(heads.key, heads.value)
            let mixed =
                context.caches.isEmpty
                ? try products.mix(heads, layer, sequences, context.pause)
                : try products.rows(
                    mix(heads.query, layer, context.caches, block: sublayer / 2), count: runs.reduce(0, +))
            return (layer.output, mixed)
        case .feedForward(let layer):
            let inner = try products.inner(layer, of: x, runs: runs)
            if let read = context.neurons { try read(products.floats(inner).pointer, states.map(\.batch)) }
            return (layer.down, inner)
        case .mixture, .absent: return nil
        }
    }

    /// after = last(h + scale * norm(update))
    private func add(
        _ update: FloatBuffer, _ own: SublayerWeights, _ before: [NativeState], _ after: [NativeState]
    ) throws(PruneError) {
        let width = config.hiddenSize
        let scale = own.plan.scale
        let norm = try own.after?.prepared(scratch)
        let last = try own.last?.prepared(scratch)
        var first = 0
        for (state, result) in zip(before, after) {
            let place = first
            forEachPiece(of: state.batch.rowCount) { rows in
                for row in rows {
                    let (own, out) = (update.pointer + (place + row) * width, result.values.pointer + row * width)
                    norm?.apply(own, width: width, into: own)
                    out.update(from: state.values.pointer + row * width, count: width)
                    Kernels.add(own, times: scale, to: out, width)
                    last?.apply(out, width: width, into: out)
                }
            }
            first += state.batch.rowCount
        }
    }

    /// Room for the state after a sublayer.
    func successor(of state: NativeState, after sublayer: Int) throws(PruneError) -> NativeState {
        let isParallel = sublayer % 2 == 0 && weights.sublayers[sublayer + 1].plan.readsBlockInput
        return NativeState(
            state.batch, try scratch.buffer(state.values.count), before: sublayer + 1,
            blockInput: isParallel ? state.values : nil)
    }

    /// The state as a sublayer finds it: with the norms of sums that sublayers removed before it leave behind.
    func settled(_ state: NativeState, before sublayer: Int) throws(PruneError) -> NativeState {
        guard weights.normsSums,
            weights.sublayers[min(state.place, sublayer)..<sublayer].contains(where: { $0.last != nil })
        else { return state }
        let width = config.hiddenSize
        let result = NativeState(state.batch, try copy(of: state.values), before: sublayer)
        for skipped in state.place..<sublayer {
            guard let norm = weights.sublayers[skipped].last else { continue }
            let prepared = try readingSublayer(skipped) { () throws(PruneError) in try norm.prepared(scratch) }
            forEachPiece(of: state.batch.rowCount) { rows in
                for row in rows {
                    let values = result.values.pointer + row * width
                    prepared.apply(values, width: width, into: values)
                }
            }
        }
        return result
    }
}

extension SublayerWeights {
    /// What the sublayer of that number reads of each state: the hidden state, or the one before the block.
    func sources(_ states: [NativeState], of sublayer: Int) -> [FloatBuffer] {
        states.map { plan.readsBlockInput ? $0.blockInput(of: sublayer) ?? $0.values : $0.values }
    }
}
