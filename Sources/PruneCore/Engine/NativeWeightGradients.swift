// SPDX-License-Identifier: Apache-2.0
/// Gradients of the weights. They are kept in the order of `NativeWeights.projections`: those of the projections that share
/// the normed rows as their input, then that of the one that ends the sublayer.
extension NativeModel {
    public func weightGradients(ofSublayer sublayer: Int) throws(PruneError) -> WeightGradients {
        try WeightGradients(
            counts: weights.projections(ofSublayer: sublayer).map { $0.weight.rows * $0.weight.columns })
    }

    public func pullback(
        _ sublayer: Int, at states: [any HiddenState], of gradients: [any HiddenState], addingTo sums: WeightGradients
    ) throws(PruneError) -> [any HiddenState] {
        try check(sums, ofSublayer: sublayer)
        return try pullback(sublayer, at: states, of: gradients, sums: sums)
    }

    /// Adds the gradient of the down projection, whose input is activation(gate) * up.
    func addDownGradient(
        to sums: WeightGradients, _ gate: FloatBuffer, _ up: FloatBuffer, _ dy: FloatBuffer, rows: Int
    ) throws(PruneError) {
        let inner = config.feedForwardSize
        let activation = config.activation
        let gated = try copy(of: up)
        forEachPiece(of: rows) { piece in
            let start = piece.lowerBound * inner
            Kernels.multiply(gated.pointer + start, by: activation, of: gate.pointer + start, piece.count * inner)
        }
        sums.add(toMatrix: 2, dy, gated, rows: rows)
    }

    /// Adds the gradient of the output projection, whose input is what attention makes of the prepared rows.
    func addOutputGradient(
        to sums: WeightGradients, _ rows: AttentionRows, _ sequences: [Range<Int>], _ dy: FloatBuffer,
        _ call: SublayerPullback
    ) throws(PruneError) {
        let mixed = try scratch.buffer(rows.query.count)
        try mix(rows.query, rows.key, rows.value, sequences, window: config.windows[call.block], into: mixed)
        sums.add(toMatrix: 3, dy, mixed, rows: call.rows)
    }

    private func check(_ sums: WeightGradients, ofSublayer sublayer: Int) throws(PruneError) {
        let counts = weights.projections(ofSublayer: sublayer).map { $0.weight.rows * $0.weight.columns }
        guard sums.matrices.map(\.count) == counts else {
            throw PruneError(
                .internal, "gradients of another sublayer's weights were given for \(sublayerName(sublayer))")
        }
    }

    public func taylor(ofSublayer sublayer: Int, _ gradients: WeightGradients) throws(PruneError) -> Double {
        try check(gradients, ofSublayer: sublayer)
        var sum = 0.0
        for (projection, gradient) in zip(weights.projections(ofSublayer: sublayer), gradients.matrices) {
            sum += try readingSublayer(sublayer) { () throws(PruneError) in
                try sumOfAbsolutes(of: projection.weight, times: gradient)
            }
        }
        return sum
    }

    /// Sum of |w * gradient| over a matrix, in double. Each row is summed by one thread, and the rows in their order.
    private func sumOfAbsolutes(of weight: StoredMatrix, times gradient: FloatBuffer) throws(PruneError) -> Double {
        let columns = weight.columns
        let slots = ThreadPool.threads
        let widened = try scratch.buffer(slots * columns)
        var sums = [Double](repeating: 0, count: weight.rows)
        sums.withUnsafeMutableBufferPointer { sums in
            // Safe: each index is written by one thread, once, and each slot has a row of the buffer to itself.
            nonisolated(unsafe) let sums = sums
            ThreadPool.forEach(weight.rows, slots: slots) { row, slot in
                let own = widened.pointer + slot * columns
                weight.widen(first: row, count: 1, into: own)
                sums[row] = Kernels.sumOfAbsoluteProducts(own, gradient.pointer + row * columns, columns)
            }
        }
        return sums.reduce(0, +)
    }
}
