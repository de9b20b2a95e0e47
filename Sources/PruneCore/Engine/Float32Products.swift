// SPDX-License-Identifier: Apache-2.0
/// Products of fp32 rows. Of a model that multiplies in bf16 they are used where rows are few, which read the weights once
/// as they are stored, and where gradients of weights are wanted.
struct Float32Products: Products {
    typealias Rows = FloatBuffer

    let model: NativeModel

    private var scratch: BufferPool { model.scratch }

    init(_ model: NativeModel) { self.model = model }

    func input(
        _ norm: Norm?, of states: [FloatBuffer], startingSums sums: [FloatBuffer]?
    ) throws(PruneError) -> FloatBuffer {
        let width = model.config.hiddenSize
        let norm = try norm?.prepared(scratch)
        let normed = try scratch.buffer(states.reduce(0) { $0 + $1.count })
        var first = 0
        for (index, state) in states.enumerated() {
            let out = normed.pointer + first
            let sum = sums?[index]
            forEachPiece(of: state.count / width) { rows in
                let start = rows.lowerBound * width
                if let sum { (sum.pointer + start).update(from: state.pointer + start, count: rows.count * width) }
                for row in rows {
                    let values = state.pointer + row * width
                    if let norm {
                        norm.apply(values, width: width, into: out + row * width)
                    } else {
                        (out + row * width).update(from: values, count: width)
                    }
                }
            }
            first += state.count
        }
        return normed
    }

    func project(_ projections: [Projection], of x: FloatBuffer, runs: [Int]) throws(PruneError) -> [FloatBuffer] {
        try model.project(projections, of: x, runs: runs)
    }

    func inner(_ layer: FeedForwardWeights, of x: FloatBuffer, runs: [Int]) throws(PruneError) -> FloatBuffer {
        let parts = try model.innerParts(layer, of: x, runs: runs, self)
        parts.activate(by: layer.activation)
        return parts.up
    }

    func mix(
        _ heads: AttentionRows, _ layer: AttentionWeights, _ sequences: [Range<Int>], _ pause: AttentionPause?
    ) throws(PruneError) -> FloatBuffer {
        let mixed = try scratch.buffer(heads.query.count)
        try model.mix(heads, layer, sequences, into: mixed, pause)
        return mixed
    }

    func add(
        _ projection: Projection, of x: FloatBuffer, to states: [FloatBuffer], giving sums: [FloatBuffer], runs: [Int]
    ) throws(PruneError) {
        let update = try project([projection], of: x, runs: runs)[0]
        let width = model.config.hiddenSize
        var first = 0
        for (sum, rows) in zip(sums, runs) {
            let place = first
            forEachPiece(of: rows) { rows in
                let offset = rows.lowerBound * width
                Kernels.add(update.pointer + place + offset, to: sum.pointer + offset, rows.count * width)
            }
            first += sum.count
        }
    }

    func rows(_ x: FloatBuffer, count: Int) throws(PruneError) -> FloatBuffer { x }

    func floats(_ x: FloatBuffer) throws(PruneError) -> FloatBuffer { x }

    func take(_ indices: [Int], of x: FloatBuffer, columns: Int) throws(PruneError) -> FloatBuffer {
        let taken = try scratch.buffer(indices.count * columns)
        for (place, index) in indices.enumerated() {
            (taken.pointer + place * columns).update(from: x.pointer + index * columns, count: columns)
        }
        return taken
    }

    func pullback(
        _ outputs: [(gradient: FloatBuffer, projection: Projection)], runs: [Int]
    ) throws(PruneError) -> FloatBuffer {
        guard let inputs = outputs.first?.projection.inputs else { return try scratch.buffer(0) }
        let dx = try scratch.buffer(runs.reduce(0, +) * inputs)
        if outputs.contains(where: \.projection.isTransposed) {
            try pullbackOneByOne(outputs, runs, into: dx)
        } else {
            try MatrixProduct.pullback(
                outputs.map { GradientTerm(UnsafePointer($0.gradient.pointer), $0.projection.weight) }, runs: runs,
                into: dx.pointer, scratch: scratch)
        }
        return dx
    }

    /// Of matrices stored inputs x outputs, the gradient's product is that of others' forward.
    private func pullbackOneByOne(
        _ outputs: [(gradient: FloatBuffer, projection: Projection)], _ runs: [Int], into dx: FloatBuffer
    ) throws(PruneError) {
        dx.pointer.update(repeating: 0, count: dx.count)
        let own = try scratch.buffer(dx.count)
        for (gradient, projection) in outputs {
            if projection.isTransposed {
                try MatrixProduct.apply(
                    gradient.pointer, runs: runs, projection.weight, into: own.pointer, scratch: scratch)
            } else {
                try MatrixProduct.pullback(
                    [GradientTerm(UnsafePointer(gradient.pointer), projection.weight)], runs: runs, into: own.pointer,
                    scratch: scratch)
            }
            Kernels.add(own.pointer, to: dx.pointer, dx.count)
        }
    }

    func innerPullback(
        _ layer: FeedForwardWeights, at x: FloatBuffer, of dy: FloatBuffer, runs: [Int],
        sums: (any WeightGradientSums, first: Int)?
    ) throws(PruneError) -> [(gradient: FloatBuffer, projection: Projection)] {
        let parts = try model.innerParts(layer, of: x, runs: runs, self)
        let d = try pullback([(dy, layer.down)], runs: runs)
        let inputs = layer.inputProjections
        if let (sums, first) = sums {
            let inner = InnerParts(gate: parts.gate, up: try model.copy(of: parts.up))
            inner.activate(by: layer.activation)
            try addWeightGradient(dy, inner.up, of: layer.down, matrix: first + inputs.count, to: sums)
        }
        parts.pullback(d, through: layer.activation)
        let gradients = try model.joined(parts, layer)
        if let (sums, first) = sums {
            for (index, gradient) in gradients.enumerated() {
                try addWeightGradient(gradient, x, of: inputs[index], matrix: first + index, to: sums)
            }
        }
        return zip(gradients, inputs).map { ($0, $1) }
    }

    func mixPullback(
        _ heads: AttentionRows, _ d: FloatBuffer, _ layer: AttentionWeights, _ sequences: [Range<Int>],
        into gradients: AttentionRows, sinks: FloatBuffer?
    ) throws(PruneError) {
        try model.pullbackMix(heads, d, sequences, layer, into: gradients, sinks: sinks)
    }

    func addWeightGradient(
        _ dy: FloatBuffer, _ x: FloatBuffer, of projection: Projection, matrix index: Int,
        to sums: any WeightGradientSums
    ) throws(PruneError) {
        let rows = dy.count / projection.outputs
        if let place = sums.place(ofMatrix: index, projection.weight) {
            let weight = projection.weight
            let (a, b) = projection.isTransposed ? (x, dy) : (dy, x)
            WeightGradientProduct.add(
                a.pointer, outputs: weight.rows, b.pointer, inputs: weight.columns, rows: rows, to: place)
        }
        sums.add(columnsOf: dy.pointer, rows: rows, toBias: projection.bias)
    }
}
