// SPDX-License-Identifier: Apache-2.0
extension NativeModel {
    public var hasGradients: Bool { true }

    public func pullback(
        _ sublayer: Int, at states: [any HiddenState], of gradients: [any HiddenState]
    ) throws(PruneError) -> [any HiddenState] {
        try pullback(sublayer, at: states, of: gradients, sums: nil)
    }

    /// - Parameter sums: where the gradients of the sublayer's weights are added.
    func pullback(
        _ sublayer: Int, at states: [any HiddenState], of gradients: [any HiddenState],
        sums: (any WeightGradientSums)?
    ) throws(PruneError) -> [any HiddenState] {
        let found = try states.map(native)
        if weights.sublayers[sublayer].isAbsent {
            return try zip(found, gradients).map { state, gradient throws(PruneError) in
                try unsettled(native(gradient), of: state, before: sublayer + 1)
            }
        }
        let before = try found.map { state throws(PruneError) in try settled(state, before: sublayer) }
        let given = try gradients.map(native)
        guard before.map(\.values.count) == given.map(\.values.count) else {
            throw PruneError(.internal, "gradients of other rows than those of the hidden states were given")
        }
        let results = try before.map { state throws(PruneError) in try self.result(of: state, sublayer) }
        if sublayer > 0 { askAhead(for: sublayer - 1) }
        for group in consecutiveGroups(ofRows: before.map(\.batch.rowCount), atMost: RowLimit.call) {
            let call = SublayerPullback(
                sublayer: sublayer, before: Array(before[group]), gradients: Array(given[group]),
                results: Array(results[group]), sums: sums)
            try readingSublayer(sublayer) { () throws(PruneError) in
                let compute = sums?.compute ?? self.compute
                try BLAS.products(in: compute) { () throws(PruneError) in
                    switch compute {
                    case .float32: try pullback(call, with: Float32Products(self))
                    case .bfloat16: try pullback(call, with: BFloat16Products(self))
                    }
                }
            }
        }
        return try zip(found, results).map { state, result throws(PruneError) in
            try unsettled(result, of: state, before: sublayer)
        }
    }

    /// Room for the gradient with respect to a state before a sublayer.
    private func result(of state: NativeState, _ sublayer: Int) throws(PruneError) -> NativeState {
        let readsInput = weights.sublayers[sublayer].plan.readsBlockInput && state.blockInput(of: sublayer) != nil
        return NativeState(
            state.batch, try scratch.buffer(state.values.count), before: sublayer,
            blockInput: readsInput ? try scratch.buffer(state.values.count) : nil)
    }

    /// The gradient with respect to a state as it was before `settled`, from that with respect to what it gave.
    func unsettled(
        _ gradient: NativeState, of state: NativeState, before sublayer: Int
    ) throws(PruneError) -> NativeState {
        guard weights.normsSums else { return gradient }
        let skipped = (min(state.place, sublayer)..<sublayer).filter { weights.sublayers[$0].last != nil }
        guard !skipped.isEmpty else { return gradient }
        let width = config.hiddenSize
        var values = gradient.values
        for index in skipped.reversed() {
            guard let norm = weights.sublayers[index].last else { continue }
            let x = try settled(state, before: index).values
            let own = try scratch.buffer(values.count)
            let prepared = try readingSublayer(index) { () throws(PruneError) in try norm.prepared(scratch) }
            prepared.pullback(x, width: width, of: values, into: own)
            values = own
        }
        return NativeState(gradient.batch, values, before: state.place, blockInput: gradient.blockInput)
    }
}

/// Some hidden states whose gradients go back through a sublayer together.
struct SublayerPullback {
    let sublayer: Int
    /// Settled before the sublayer.
    let before: [NativeState]
    /// With respect to the states after the sublayer.
    let gradients: [NativeState]
    /// Where those with respect to `before` go.
    let results: [NativeState]
    /// Where the gradients of the weights are added; nil = they are not wanted.
    let sums: (any WeightGradientSums)?

    /// How many rows belong together: see `MatrixProduct.apply`.
    var runs: [Int] { before.map(\.batch.rowCount) }
    var rows: Int { runs.reduce(0, +) }
}

extension NativeModel {
    /// Back through h -> last(h + scale * after(update(before(x)))): the one pullback of all families. What happens inside
    /// the sublayer is computed again.
    private func pullback<P: Products>(_ call: SublayerPullback, with products: P) throws(PruneError) {
        let own = weights.sublayers[call.sublayer]
        let x = try products.input(own.before, of: own.sources(call.before, of: call.sublayer), startingSums: nil)
        // With respect to the update, and to the state that it is added to.
        let (dy, residual) = try updateGradient(call, own, x, products)
        let dx: FloatBuffer
        switch own.update {
        case .attention(let layer):
            dx = try pullbackAttention(layer, call, x, dy, products)
        case .feedForward(let layer):
            let inputs = try products.innerPullback(
                layer, at: x, of: dy, runs: call.runs, sums: call.sums.map { ($0, 0) })
            dx = try products.pullback(inputs, runs: call.runs)
        case .mixture(let layer):
            dx = try pullbackMixture(layer, call, x, dy, products)
        case .absent:
            throw PruneError(.internal, "a gradient was to go back through what is not there")
        }
        try addNormGradient(of: own.before, dx.pointer, at: own.sources(call.before, of: call.sublayer), to: call.sums)
        try addInputGradient(of: dx, own, residual, call)
    }

    /// The gradient with respect to the update of a sublayer, as products take it; and those with respect to the states that
    /// it is added to.
    private func updateGradient<P: Products>(
        _ call: SublayerPullback, _ own: SublayerWeights, _ x: P.Rows, _ products: P
    ) throws(PruneError) -> (P.Rows, [FloatBuffer]) {
        var residual = call.gradients.map(\.values)
        if own.plan.addsPlainly { return (try products.rows(try gathered(residual), count: call.rows), residual) }
        let width = config.hiddenSize
        let scale = own.plan.scale
        // Norms need what they were applied to.
        let update =
            own.after != nil || own.last != nil ? try self.update(call.sublayer, x, call.before, products) : nil
        let after = try own.after?.prepared(scratch)
        if let last = try own.last?.prepared(scratch), let update {
            let normed = after == nil ? update : try copy(of: update)
            if let after { after.applyToRows(of: normed, width: width) }
            var first = 0
            for index in call.before.indices {
                let sum = try copy(of: call.before[index].values)
                Kernels.add(normed.pointer + first, times: scale, to: sum.pointer, sum.count)
                let gradient = try scratch.buffer(sum.count)
                try addNormGradient(of: own.last, residual[index].pointer, at: [sum], to: call.sums)
                last.pullback(sum, width: width, of: residual[index], into: gradient)
                residual[index] = gradient
                first += sum.count
            }
        }
        let dy = try copy(of: gathered(residual))
        if scale != 1 { for index in 0..<dy.count { dy.pointer[index] *= scale } }
        guard let after, let update else { return (try products.rows(dy, count: call.rows), residual) }
        try addNormGradient(of: own.after, dy.pointer, at: [update], to: call.sums)
        let result = try scratch.buffer(dy.count)
        after.pullback(update, width: width, of: dy, into: result)
        return (try products.rows(result, count: call.rows), residual)
    }

    /// All states' rows, one after the other: a state's own memory, where there is one state.
    func gathered(_ states: [FloatBuffer]) throws(PruneError) -> FloatBuffer {
        if states.count == 1 { return states[0] }
        let all = try scratch.buffer(states.reduce(0) { $0 + $1.count })
        var first = 0
        for state in states {
            (all.pointer + first).update(from: state.pointer, count: state.count)
            first += state.count
        }
        return all
    }

    func copy(of buffer: FloatBuffer) throws(PruneError) -> FloatBuffer {
        let copy = try scratch.buffer(buffer.count)
        buffer.copy(to: copy.pointer)
        return copy
    }

    /// results = residual + the pullback of dx, the gradient of the normed rows. What a parallel block's feed-forward read
    /// has a gradient of its own, which that of the attention takes in.
    private func addInputGradient(
        of dx: FloatBuffer, _ own: SublayerWeights, _ residual: [FloatBuffer], _ call: SublayerPullback
    ) throws(PruneError) {
        let width = config.hiddenSize
        let norm = try own.before?.prepared(scratch)
        let sources = own.sources(call.before, of: call.sublayer)
        var first = 0
        for index in call.before.indices {
            let place = first
            let result = call.results[index]
            let (source, gradient) = (sources[index], residual[index])
            let ofInput = call.gradients[index].blockInput
            let target = result.blockInput ?? result.values
            forEachPiece(of: call.before[index].batch.rowCount) { rows in
                for row in rows {
                    let offset = row * width
                    let out = result.values.pointer + offset
                    out.update(from: gradient.pointer + offset, count: width)
                    if let ofInput { Kernels.add(ofInput.pointer + offset, to: out, width) }
                    let into = target.pointer + offset
                    if result.blockInput != nil { into.update(repeating: 0, count: width) }
                    let dx = dx.pointer + place * width + offset
                    if let norm {
                        norm.addPullback(source.pointer + offset, width: width, of: dx, to: into)
                    } else {
                        Kernels.add(dx, to: into, width)
                    }
                }
            }
            first += call.before[index].batch.rowCount
        }
    }
}
