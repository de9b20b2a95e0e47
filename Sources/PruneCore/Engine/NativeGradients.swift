// SPDX-License-Identifier: Apache-2.0
extension NativeModel {
    public var hasGradients: Bool { true }

    public func pullback(
        _ sublayer: Int, at states: [any HiddenState], of gradients: [any HiddenState]
    ) throws(PruneError) -> [any HiddenState] {
        try pullback(sublayer, at: states, of: gradients, sums: nil)
    }

    /// - Parameter sums: where the gradients of the sublayer's weights are added; then all products are fp32.
    func pullback(
        _ sublayer: Int, at states: [any HiddenState], of gradients: [any HiddenState], sums: WeightGradients?
    ) throws(PruneError) -> [any HiddenState] {
        let before = try states.map(native)
        let given = try gradients.map(native)
        guard before.map(\.values.count) == given.map(\.values.count) else {
            throw PruneError(.internal, "gradients of other rows than those of the hidden states were given")
        }
        let results = try before.map { state throws(PruneError) in
            NativeState(state.batch, try scratch.buffer(state.values.count))
        }
        if sublayer > 0 { askAhead(for: sublayer - 1) }
        for group in consecutiveGroups(ofRows: before.map(\.batch.rowCount), atMost: RowLimit.call) {
            let call = SublayerPullback(
                block: sublayer / 2, before: Array(before[group]), gradients: Array(given[group]),
                results: Array(results[group]), sums: sums)
            try readingSublayer(sublayer) { () throws(PruneError) in
                try BLAS.products(in: sums == nil ? compute : .float32) { () throws(PruneError) in
                    switch (sums == nil ? compute : .float32, sublayer % 2) {
                    case (.float32, 0): try pullbackAttention(call)
                    case (.float32, _): try pullbackFeedForward(call)
                    case (.bfloat16, 0): try pullbackAttentionRounded(call)
                    case (.bfloat16, _): try pullbackFeedForwardRounded(call)
                    }
                }
            }
        }
        return results
    }
}

/// Some hidden states whose gradients go back through a sublayer together.
struct SublayerPullback {
    let block: Int
    /// Before the sublayer.
    let before: [NativeState]
    /// With respect to the states after the sublayer.
    let gradients: [NativeState]
    /// Where those with respect to `before` go.
    let results: [NativeState]
    /// Where the gradients of the weights are added; nil = they are not wanted.
    let sums: WeightGradients?

    /// How many rows belong together: see `MatrixProduct.apply`.
    var runs: [Int] { before.map(\.batch.rowCount) }
    var rows: Int { runs.reduce(0, +) }
}

extension NativeModel {
    /// Through h + down(activation(gate(x)) * up(x)) with x = norm(h). Gate and up are computed again, down need not be.
    private func pullbackFeedForward(_ call: SublayerPullback) throws(PruneError) {
        let layer = weights.feedForward[call.block]
        let inner = config.feedForwardSize
        let x = try normed(layer.norm, call.before)
        let projected = try project([layer.gate, layer.up], of: x, runs: call.runs)
        let (gate, up) = (projected[0], projected[1])
        let d = try scratch.buffer(call.rows * inner)
        let dy = try gathered(call.gradients)
        try MatrixProduct.pullback(
            [GradientTerm(UnsafePointer(dy.pointer), layer.down.weight)], runs: call.runs, into: d.pointer,
            scratch: scratch)
        let activation = config.activation
        if let sums = call.sums { try addDownGradient(to: sums, gate, up, dy, rows: call.rows) }
        forEachPiece(of: call.rows) { piece in
            let start = piece.lowerBound * inner
            Kernels.pullback(
                d.pointer + start, through: activation, gate: gate.pointer + start, up: up.pointer + start,
                piece.count * inner)
        }
        call.sums?.add([gate, up], of: x, rows: call.rows)
        try pullbackInputs([(gate, layer.gate), (up, layer.up)], layer.norm, call)
    }

    /// The rows of all states, one after the other: a state's own memory, where there is one state.
    func gathered(_ states: [NativeState]) throws(PruneError) -> FloatBuffer {
        if states.count == 1 { return states[0].values }
        let all = try scratch.buffer(states.reduce(0) { $0 + $1.values.count })
        var first = 0
        for state in states {
            (all.pointer + first).update(from: state.values.pointer, count: state.values.count)
            first += state.values.count
        }
        return all
    }

    /// The end of a sublayer's pullback, from the gradients of what its first projections give: through these, the norm
    /// before them, and the residual path.
    func pullbackInputs(
        _ outputs: [(gradient: FloatBuffer, projection: Projection)], _ norm: Norm, _ call: SublayerPullback
    ) throws(PruneError) {
        let dx = try scratch.buffer(call.rows * config.hiddenSize)
        try MatrixProduct.pullback(
            outputs.map { GradientTerm(UnsafePointer($0.gradient.pointer), $0.projection.weight) }, runs: call.runs,
            into: dx.pointer, scratch: scratch)
        try pullbackNorm(norm, of: dx, call)
    }

    /// results = gradients + the pullback of dx, the gradient of the normed rows.
    func pullbackNorm(_ norm: Norm, of dx: FloatBuffer, _ call: SublayerPullback) throws(PruneError) {
        let width = config.hiddenSize
        let gain = try norm.gain.floats(scratch)
        var first = 0
        for index in call.before.indices {
            let place = first
            let (state, gradient, result) = (
                call.before[index].values, call.gradients[index].values, call.results[index].values
            )
            forEachPiece(of: call.before[index].batch.rowCount) { rows in
                for row in rows {
                    let (h, out) = (state.pointer + row * width, result.pointer + row * width)
                    out.update(from: gradient.pointer + row * width, count: width)
                    Kernels.addNormPullback(
                        h, scale: norm.scale(h, width: width), gain: gain.pointer,
                        of: dx.pointer + (place + row) * width, to: out, width)
                }
            }
            first += call.before[index].batch.rowCount
        }
    }
}
