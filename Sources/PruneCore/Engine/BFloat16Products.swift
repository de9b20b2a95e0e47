// SPDX-License-Identifier: Apache-2.0
/// Products of rows rounded to bf16. The residual stream, norms, softmax and sums stay fp32.
struct BFloat16Products: Products {
    typealias Rows = BFloat16Rows

    let model: NativeModel

    private var scratch: BufferPool { model.scratch }

    init(_ model: NativeModel) { self.model = model }

    func input(
        _ norm: Norm?, of states: [FloatBuffer], startingSums _: [FloatBuffer]?
    ) throws(PruneError) -> BFloat16Rows {
        let width = model.config.hiddenSize
        let norm = try norm?.prepared(scratch)
        let x = try BFloat16Rows(rows: states.reduce(0) { $0 + $1.count } / width, columns: width, scratch)
        // Rows of a piece are one after the other on one thread, which may use the room of its first row.
        let room = try scratch.buffer(norm?.needsRoom ?? false ? x.rows * width : 0)
        var first = 0
        for state in states {
            let place = first
            forEachPiece(of: state.count / width) { rows in
                for row in rows {
                    let values = state.pointer + row * width
                    if let norm {
                        norm.apply(
                            values, width: width, rounding: x.row(place + row),
                            norm.needsRoom ? room.pointer + (place + row) * width : room.pointer)
                    } else {
                        Kernels.round(values, into: x.row(place + row), width)
                    }
                }
            }
            first += state.count / width
        }
        return x
    }

    func project(_ projections: [Projection], of x: BFloat16Rows, runs: [Int]) throws(PruneError) -> [FloatBuffer] {
        var outs: [FloatBuffer] = []
        var targets: [BFloat16Product.Target] = []
        for projection in projections {
            let out = try scratch.buffer(x.rows * projection.outputs)
            let run = BFloat16Product.Run(rows: 0..<x.rows, out: out.pointer, stride: projection.outputs)
            let bias = try projection.bias?.floats(scratch)
            outs.append(out)
            if projection.isTransposed {
                try BFloat16Product.pullback([GradientTerm(x, projection.weight)], to: [run], scratch: scratch)
                if let bias { addToEachRow(bias, out.pointer, rows: x.rows) }
            } else {
                targets.append(BFloat16Product.Target(weight: projection.weight, bias: bias, runs: [run]))
            }
        }
        if !targets.isEmpty { try BFloat16Product.apply(x, to: targets, scratch: scratch) }
        return outs
    }

    func inner(_ layer: FeedForwardWeights, of x: BFloat16Rows, runs: [Int]) throws(PruneError) -> BFloat16Rows {
        if case .gated(let gate, let up) = layer.inputs, !gate.isTransposed, !up.isTransposed {
            return try model.gatedRows(gate, up, layer.activation, x)
        }
        let parts = try model.innerParts(layer, of: x, runs: runs, self)
        parts.activate(by: layer.activation)
        return try rows(parts.up, count: x.rows)
    }

    func mix(
        _ heads: AttentionRows, _ layer: AttentionWeights, _ sequences: [Range<Int>], _ pause: AttentionPause?
    ) throws(PruneError) -> BFloat16Rows {
        let count = heads.query.count / (model.config.headCount * model.config.headSize)
        guard canRound(layer) else {
            // As fast as a model in fp32 does it, and the lesser part of the work.
            let mixed = try scratch.buffer(heads.query.count)
            try BLAS.products { () throws(PruneError) in
                try model.mix(heads, layer, sequences, into: mixed, pause)
            }
            return try rows(mixed, count: count)
        }
        return try model.mixRounded(heads, rows: count, layer, sequences, pause)
    }

    /// Whether the products of queries, keys and values multiply in bf16, too: pairs of values, and softmax alone.
    private func canRound(_ layer: AttentionWeights) -> Bool {
        model.config.headSize % 2 == 0 && layer.plan.softCap == nil && layer.sinks == nil
    }

    func add(
        _ projection: Projection, of x: BFloat16Rows, to states: [FloatBuffer], giving sums: [FloatBuffer], runs: [Int]
    ) throws(PruneError) {
        let width = model.config.hiddenSize
        var targets: [BFloat16Product.Run] = []
        var first = 0
        for (state, sum) in zip(states, sums) {
            let rows = first..<first + state.count / width
            targets.append(
                BFloat16Product.Run(
                    rows: rows, start: UnsafePointer(state.pointer), out: sum.pointer, stride: width))
            first = rows.upperBound
        }
        let bias = try projection.bias?.floats(scratch)
        if projection.isTransposed {
            try BFloat16Product.pullback([GradientTerm(x, projection.weight)], to: targets, scratch: scratch)
            guard let bias else { return }
            for sum in sums { addToEachRow(bias, sum.pointer, rows: sum.count / width) }
        } else {
            let target = BFloat16Product.Target(weight: projection.weight, bias: bias, runs: targets)
            try BFloat16Product.apply(x, to: [target], scratch: scratch)
        }
    }

    func rows(_ x: FloatBuffer, count: Int) throws(PruneError) -> BFloat16Rows {
        try BFloat16Rows(rounding: x.pointer, rows: count, columns: count == 0 ? 0 : x.count / count, scratch)
    }

    func floats(_ x: BFloat16Rows) throws(PruneError) -> FloatBuffer { try x.widened(scratch) }

    func take(_ indices: [Int], of x: BFloat16Rows, columns: Int) throws(PruneError) -> BFloat16Rows {
        let taken = try BFloat16Rows(rows: indices.count, columns: columns, scratch)
        for (place, index) in indices.enumerated() { taken.row(place).update(from: x.row(index), count: x.stride) }
        return taken
    }

    func pullback(
        _ outputs: [(gradient: BFloat16Rows, projection: Projection)], runs: [Int]
    ) throws(PruneError) -> FloatBuffer {
        guard let inputs = outputs.first?.projection.inputs, let rows = outputs.first?.gradient.rows else {
            return try scratch.buffer(0)
        }
        let dx = try scratch.buffer(rows * inputs)
        var run = BFloat16Product.Run(rows: 0..<rows, out: dx.pointer, stride: inputs)
        let straight = outputs.filter { !$0.projection.isTransposed }
        if !straight.isEmpty {
            try BFloat16Product.pullback(
                straight.map { GradientTerm($0.gradient, $0.projection.weight) }, to: [run], scratch: scratch)
            run.start = UnsafePointer(dx.pointer)
        }
        for (gradient, projection) in outputs where projection.isTransposed {
            let target = BFloat16Product.Target(weight: projection.weight, runs: [run])
            try BFloat16Product.apply(gradient, to: [target], scratch: scratch)
            run.start = UnsafePointer(dx.pointer)
        }
        return dx
    }

    func innerPullback(
        _ layer: FeedForwardWeights, at x: BFloat16Rows, of dy: BFloat16Rows, runs: [Int],
        sums: (any WeightGradientSums, first: Int)?
    ) throws(PruneError) -> [(gradient: BFloat16Rows, projection: Projection)] {
        var gradients: [(gradient: BFloat16Rows, projection: Projection)] = []
        let inner: BFloat16Rows?
        if case .gated(let gate, let up) = layer.inputs, !layer.projections.contains(where: \.isTransposed) {
            let own = try model.gateGradients(
                gate, up, layer.down, layer.activation, x, dy, keepingInner: sums != nil)
            gradients = [(own.gate, gate), (own.up, up)]
            inner = own.inner
        } else {
            let parts = try model.innerParts(layer, of: x, runs: runs, self)
            inner = try sums == nil ? nil : roundedInner(parts, layer, count: x.rows)
            parts.pullback(try pullback([(dy, layer.down)], runs: runs), through: layer.activation)
            for (own, projection) in zip(try model.joined(parts, layer), layer.inputProjections) {
                gradients.append((try rows(own, count: x.rows), projection))
            }
        }
        guard let (sums, first) = sums, let inner else { return gradients }
        for (index, own) in gradients.enumerated() {
            try addWeightGradient(own.gradient, x, of: own.projection, matrix: first + index, to: sums)
        }
        try addWeightGradient(dy, inner, of: layer.down, matrix: first + gradients.count, to: sums)
        return gradients
    }

    /// What the last product of a feed-forward takes, from what it has inside before its activation.
    private func roundedInner(
        _ parts: InnerParts, _ layer: FeedForwardWeights, count: Int
    ) throws(PruneError) -> BFloat16Rows {
        let inner = InnerParts(gate: parts.gate, up: try model.copy(of: parts.up))
        inner.activate(by: layer.activation)
        return try rows(inner.up, count: count)
    }

    func mixPullback(
        _ heads: AttentionRows, _ d: FloatBuffer, _ layer: AttentionWeights, _ sequences: [Range<Int>],
        into gradients: AttentionRows, sinks: FloatBuffer?
    ) throws(PruneError) {
        guard canRound(layer) else {
            return try BLAS.products { () throws(PruneError) in
                try model.pullbackMix(heads, d, sequences, layer, into: gradients, sinks: sinks)
            }
        }
        try model.pullbackMixRounded(heads, d, sequences, layer, into: gradients)
    }

    func addWeightGradient(
        _ dy: BFloat16Rows, _ x: BFloat16Rows, of projection: Projection, matrix index: Int,
        to sums: any WeightGradientSums
    ) throws(PruneError) {
        if let place = sums.place(ofMatrix: index, projection.weight) {
            let (a, b) = projection.isTransposed ? (x, dy) : (dy, x)
            try WeightGradientProduct.add(a, b, to: place, scratch: scratch)
        }
        guard let bias = projection.bias, sums.place(of: bias.tensor) != nil else { return }
        sums.add(columnsOf: try dy.widened(scratch).pointer, rows: dy.rows, toBias: bias)
    }
}
