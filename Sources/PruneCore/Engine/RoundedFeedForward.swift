// SPDX-License-Identifier: Apache-2.0
extension NativeModel {
    /// activation(gate(x)) * up(x), rounded to bf16. A panel holds 32 gates and the 32 ups that they meet, so that no
    /// intermediate leaves the cache.
    func gatedRows(
        _ gate: Projection, _ up: Projection, _ activation: Activation, _ x: BFloat16Rows
    ) throws(PruneError) -> BFloat16Rows {
        let inner = gate.outputs
        let most = BFloat16Product.panelColumns / 2
        let pairs = (x.columns + 1) / 2
        let rowsAtATime = 96
        let biases = try pairedBiases(gate, up, most)
        let gated = try BFloat16Rows(rows: x.rows, columns: inner, scratch)
        func outputs(_ index: Int) -> Range<Int> { index * most..<min((index + 1) * most, inner) }
        try BFloat16Product.forEachPiece(
            panels: (inner + most - 1) / most, rows: x.rows, inputs: x.columns, roomFloats: rowsAtATime * 2 * most,
            scratch
        ) { index, panel in
            let outputs = outputs(index)
            let half = BFloat16Product.roundedUp(outputs.count)
            BFloat16Product.pack(gate.weight, outputs, width: 2 * half, into: panel)
            BFloat16Product.pack(up.weight, outputs, column: half, width: 2 * half, into: panel)
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
    private func pairedBiases(
        _ gate: Projection, _ up: Projection, _ most: Int
    ) throws(PruneError) -> FloatBuffer? {
        let inner = gate.outputs
        guard let gate = try gate.bias?.floats(scratch), let up = try up.bias?.floats(scratch) else {
            return nil
        }
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

    /// The gradients with respect to gate and up, rounded, from the normed rows and the gradients of the sublayer's update;
    /// and what the last product takes, as `gatedRows` gives it, if it is wanted. A piece of work holds the panels of some
    /// gates, their ups, and their columns of down, so that no fp32 intermediate leaves the cache.
    func gateGradients(
        _ gateProjection: Projection, _ upProjection: Projection, _ down: Projection, _ activation: Activation,
        _ x: BFloat16Rows, _ dy: BFloat16Rows, keepingInner: Bool
    ) throws(PruneError) -> (gate: BFloat16Rows, up: BFloat16Rows, inner: BFloat16Rows?) {
        let inner = gateProjection.outputs
        let most = BFloat16Product.panelColumns
        let pairs = (x.columns + 1) / 2
        let panelElements = pairs * 2 * most
        let rowsAtATime = 96
        let tileFloats = rowsAtATime * most
        let gateBias = try gateProjection.bias?.floats(scratch)
        let upBias = try upProjection.bias?.floats(scratch)
        let gates = try BFloat16Rows(rows: x.rows, columns: inner, scratch)
        let ups = try BFloat16Rows(rows: x.rows, columns: inner, scratch)
        let gated = try keepingInner ? BFloat16Rows(rows: x.rows, columns: inner, scratch) : nil
        @Sendable func outputs(_ index: Int) -> Range<Int> { index * most..<min((index + 1) * most, inner) }
        try BFloat16Product.forEachPiece(
            panels: (inner + most - 1) / most, rows: x.rows, inputs: x.columns, panelsAtATime: 3,
            roomFloats: (keepingInner ? 4 : 3) * tileFloats,
            scratch
        ) { index, panels in
            let own = outputs(index)
            let width = BFloat16Product.roundedUp(own.count)
            BFloat16Product.pack(gateProjection.weight, own, width: width, into: panels)
            BFloat16Product.pack(upProjection.weight, own, width: width, into: panels + panelElements)
            BFloat16Product.packColumns(
                of: down.weight, inputs: 0..<x.columns, columns: own, width: width,
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
                if let gated {
                    let product = gate + 3 * tileFloats
                    product.update(from: up, count: count * own.count)
                    Kernels.multiply(product, by: activation, of: gate, count * own.count)
                    for row in 0..<count {
                        Kernels.round(
                            product + row * own.count, into: gated.row(first + row) + own.lowerBound, own.count)
                    }
                }
                Kernels.pullback(d, through: activation, gate: gate, up: up, count * own.count)
                for row in 0..<count {
                    Kernels.round(gate + row * own.count, into: gates.row(first + row) + own.lowerBound, own.count)
                    Kernels.round(up + row * own.count, into: ups.row(first + row) + own.lowerBound, own.count)
                }
            }
        }
        return (gates, ups, gated)
    }
}
