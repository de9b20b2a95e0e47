// SPDX-License-Identifier: Apache-2.0
/// Pullbacks whose products multiply in bf16: gradients are rounded where they enter a product, and are fp32 elsewhere.
extension NativeModel {
    /// See `pullbackFeedForward`.
    func pullbackFeedForwardRounded(_ call: SublayerPullback) throws(PruneError) {
        let layer = weights.feedForward[call.block]
        let x = try roundedNorm(layer.norm, call.before)
        let gradients = try gateGradients(layer, x, try rounded(call.gradients))
        try pullbackInputs([(gradients.gate, layer.gate), (gradients.up, layer.up)], layer.norm, call)
    }

    /// See `pullbackAttention`.
    func pullbackAttentionRounded(_ call: SublayerPullback) throws(PruneError) {
        let layer = weights.attention[call.block]
        let sequences = sequences(of: call.before)
        let rows = try projectRounded(layer, try roundedNorm(layer.norm, call.before))
        let d = try scratch.buffer(rows.query.count)
        try BFloat16Product.pullback(
            [GradientTerm(try rounded(call.gradients), layer.output.weight)],
            to: [BFloat16Product.Run(rows: 0..<call.rows, out: d.pointer, stride: layer.output.weight.columns)],
            scratch: scratch)
        let gradients = try pullbackHeads(of: rows, layer, sequences) { (rows, gradients) throws(PruneError) in
            try pullbackMixRounded(rows, d, sequences, window: config.windows[call.block], into: gradients)
        }
        let outputs = try [
            (gradients.query, layer.query), (gradients.key, layer.key), (gradients.value, layer.value),
        ].map { (gradient, projection) throws(PruneError) in
            (
                try BFloat16Rows(
                    rounding: gradient.pointer, rows: call.rows, columns: projection.weight.rows, scratch), projection
            )
        }
        try pullbackInputs(outputs, layer.norm, call)
    }

    /// The rows of all states, one after the other, rounded.
    private func rounded(_ states: [NativeState]) throws(PruneError) -> BFloat16Rows {
        let width = config.hiddenSize
        let all = try BFloat16Rows(rows: states.reduce(0) { $0 + $1.batch.rowCount }, columns: width, scratch)
        var first = 0
        for state in states {
            let place = first
            forEachPiece(of: state.batch.rowCount) { rows in
                for row in rows { Kernels.round(state.values.pointer + row * width, into: all.row(place + row), width) }
            }
            first += state.batch.rowCount
        }
        return all
    }

    private func pullbackInputs(
        _ outputs: [(gradient: BFloat16Rows, projection: Projection)], _ norm: Norm, _ call: SublayerPullback
    ) throws(PruneError) {
        let dx = try scratch.buffer(call.rows * config.hiddenSize)
        try BFloat16Product.pullback(
            outputs.map { GradientTerm($0.gradient, $0.projection.weight) },
            to: [BFloat16Product.Run(rows: 0..<call.rows, out: dx.pointer, stride: config.hiddenSize)], scratch: scratch
        )
        try pullbackNorm(norm, of: dx, call)
    }

    /// The gradients with respect to gate and up, rounded, from the normed rows and the gradients of the sublayer's update.
    /// A piece of work holds the panels of some gates, their ups, and their columns of down, so that no fp32 intermediate
    /// leaves the cache.
    private func gateGradients(
        _ layer: FeedForwardWeights, _ x: BFloat16Rows, _ dy: BFloat16Rows
    ) throws(PruneError) -> (gate: BFloat16Rows, up: BFloat16Rows) {
        let inner = config.feedForwardSize
        let most = BFloat16Product.panelColumns
        let pairs = (x.columns + 1) / 2
        let panelElements = pairs * 2 * most
        let rowsAtATime = 96
        let tileFloats = rowsAtATime * most
        let gateBias = try layer.gate.bias?.floats(scratch)
        let upBias = try layer.up.bias?.floats(scratch)
        let gates = try BFloat16Rows(rows: x.rows, columns: inner, scratch)
        let ups = try BFloat16Rows(rows: x.rows, columns: inner, scratch)
        let activation = config.activation
        @Sendable func outputs(_ index: Int) -> Range<Int> { index * most..<min((index + 1) * most, inner) }
        try BFloat16Product.forEachPiece(
            panels: (inner + most - 1) / most, rows: x.rows, inputs: x.columns, panelsAtATime: 3,
            roomFloats: 3 * tileFloats,
            scratch
        ) { index, panels in
            let own = outputs(index)
            let width = BFloat16Product.roundedUp(own.count)
            BFloat16Product.pack(layer.gate.weight, own, width: width, into: panels)
            BFloat16Product.pack(layer.up.weight, own, width: width, into: panels + panelElements)
            BFloat16Product.packColumns(
                of: layer.down.weight, inputs: 0..<x.columns, columns: own, width: width,
                into: panels + 2 * panelElements)
        } multiply: { index, panels, rows, gate in
            let own = outputs(index)
            let (up, d) = (gate + tileFloats, gate + 2 * tileFloats)
            for first in stride(from: rows.lowerBound, to: rows.upperBound, by: rowsAtATime) {
                let count = min(rowsAtATime, rows.upperBound - first)
                let inputs = [
                    (x, panels, gateBias, gate), (x, panels + panelElements, upBias, up),
                    (dy, panels + 2 * panelElements, nil, d),
                ]
                for (rows, panel, bias, tile) in inputs {
                    BFloat16Product.multiply(
                        rows.row(first), stride: rows.stride, panel, pairs: pairs,
                        bias: bias.map { UnsafePointer($0.pointer + own.lowerBound) }, into: tile, stride: own.count,
                        rows: count, columns: own.count)
                }
                Kernels.pullback(d, through: activation, gate: gate, up: up, count * own.count)
                for row in 0..<count {
                    Kernels.round(gate + row * own.count, into: gates.row(first + row) + own.lowerBound, own.count)
                    Kernels.round(up + row * own.count, into: ups.row(first + row) + own.lowerBound, own.count)
                }
            }
        }
        return (gates, ups)
    }
}
