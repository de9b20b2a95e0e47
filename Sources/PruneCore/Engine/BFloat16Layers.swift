// SPDX-License-Identifier: Apache-2.0
/// Sublayers whose products multiply in bf16. The residual stream, norms, softmax and sums stay fp32.
extension NativeModel {
    /// norm(h) of all states' rows, one state after the other, rounded to bf16.
    func roundedNorm(_ norm: Norm, _ states: [NativeState]) throws(PruneError) -> BFloat16Rows {
        let width = config.hiddenSize
        let gain = try norm.gain.floats(scratch)
        let x = try BFloat16Rows(rows: states.reduce(0) { $0 + $1.batch.rowCount }, columns: width, scratch)
        var first = 0
        for state in states {
            let place = first
            forEachPiece(of: state.batch.rowCount) { rows in
                for row in rows {
                    let values = state.values.pointer + row * width
                    let scale = norm.scale(values, width: width)
                    Kernels.scale(values, by: scale, times: gain.pointer, into: x.row(place + row), width)
                }
            }
            first += state.batch.rowCount
        }
        return x
    }

    /// sum = state + projection(x), for each state's rows of x, which follow one another.
    func addProjection(
        _ projection: Projection, of x: BFloat16Rows, to states: [NativeState], giving sums: [NativeState]
    ) throws(PruneError) {
        var runs: [BFloat16Product.Run] = []
        var first = 0
        for (state, sum) in zip(states, sums) {
            let rows = first..<first + state.batch.rowCount
            runs.append(
                BFloat16Product.Run(
                    rows: rows, start: UnsafePointer(state.values.pointer), out: sum.values.pointer,
                    stride: config.hiddenSize))
            first = rows.upperBound
        }
        let bias = try projection.bias?.floats(scratch)
        let target = BFloat16Product.Target(weight: projection.weight, bias: bias, runs: runs)
        try BFloat16Product.apply(x, to: [target], scratch: scratch)
    }

    /// h + down(activation(gate(x)) * up(x)) with x = norm(h)
    func feedForwardRounded(block: Int, _ before: [NativeState], _ after: [NativeState]) throws(PruneError) {
        let layer = weights.feedForward[block]
        let x = try roundedNorm(layer.norm, before)
        let gated = try gatedRows(layer, x)
        try addProjection(layer.down, of: gated, to: before, giving: after)
    }

    /// activation(gate(x)) * up(x), rounded to bf16. A panel holds 32 gates and the 32 ups that they meet, so that no
    /// intermediate leaves the cache.
    private func gatedRows(_ layer: FeedForwardWeights, _ x: BFloat16Rows) throws(PruneError) -> BFloat16Rows {
        let inner = config.feedForwardSize
        let most = BFloat16Product.panelColumns / 2
        let pairs = (x.columns + 1) / 2
        let rowsAtATime = 96
        let biases = try pairedBiases(layer, most)
        let gated = try BFloat16Rows(rows: x.rows, columns: inner, scratch)
        let activation = config.activation
        func outputs(_ index: Int) -> Range<Int> { index * most..<min((index + 1) * most, inner) }
        try BFloat16Product.forEachPiece(
            panels: (inner + most - 1) / most, rows: x.rows, inputs: x.columns, roomFloats: rowsAtATime * 2 * most,
            scratch
        ) { index, panel in
            let outputs = outputs(index)
            let half = BFloat16Product.roundedUp(outputs.count)
            BFloat16Product.pack(layer.gate.weight, outputs, width: 2 * half, into: panel)
            BFloat16Product.pack(layer.up.weight, outputs, column: half, width: 2 * half, into: panel)
        } multiply: { index, panel, rows, tile in
            let outputs = outputs(index)
            let half = BFloat16Product.roundedUp(outputs.count)
            for first in stride(from: rows.lowerBound, to: rows.upperBound, by: rowsAtATime) {
                let count = min(rowsAtATime, rows.upperBound - first)
                BFloat16Product.multiply(
                    x.row(first), stride: x.stride, panel, pairs: pairs,
                    bias: biases.map { UnsafePointer($0.pointer + index * 2 * most) }, into: tile, stride: 2 * half,
                    rows: count, columns: 2 * half)
                Kernels.gate(
                    tile, rows: count, half: half, columns: outputs.count, by: activation,
                    into: gated.row(first) + outputs.lowerBound, stride: gated.stride)
            }
        }
        return gated
    }

    /// The biases of gate and up in the order of the panels, `most` of each at a time; nil if there are none.
    private func pairedBiases(_ layer: FeedForwardWeights, _ most: Int) throws(PruneError) -> FloatBuffer? {
        guard let gate = try layer.gate.bias?.floats(scratch), let up = try layer.up.bias?.floats(scratch) else {
            return nil
        }
        let inner = config.feedForwardSize
        let paired = try scratch.buffer((inner + most - 1) / most * 2 * most)
        paired.pointer.update(repeating: 0, count: paired.count)
        for first in stride(from: 0, to: inner, by: most) {
            let count = min(most, inner - first)
            let half = BFloat16Product.roundedUp(count)
            (paired.pointer + 2 * first).update(from: gate.pointer + first, count: count)
            (paired.pointer + 2 * first + half).update(from: up.pointer + first, count: count)
        }
        return paired
    }
}
