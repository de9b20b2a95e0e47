// SPDX-License-Identifier: Apache-2.0
/// Gradients of the weights. They are kept in the order of `SublayerWeights.projections`.
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
