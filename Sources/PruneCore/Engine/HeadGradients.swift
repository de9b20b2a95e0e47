// SPDX-License-Identifier: Apache-2.0
/// The gradients of what comes after the sublayers: head and final norm.
extension NativeModel {
    /// Adds those of the head's matrix and bias.
    ///
    /// - Parameters:
    ///   - logits: the gradients with respect to what the head's product gave, rows x vocabulary.
    ///   - rounded: the same in bf16, the vocabulary cut into parts; empty = products are fp32.
    ///   - x: what the head took, of at least `rows` rows.
    func addHeadGradients(
        _ logits: FloatBuffer, _ rounded: [GradientTerm<BFloat16Rows>], _ x: FloatBuffer, rows: Int,
        to sums: any WeightGradientSums
    ) throws(PruneError) {
        let head = weights.head
        sums.add(columnsOf: logits.pointer, rows: rows, toBias: weights.headBias)
        guard let place = sums.place(ofMatrix: 0, head) else { return }
        guard !rounded.isEmpty else {
            return WeightGradientProduct.add(
                logits.pointer, outputs: head.rows, x.pointer, inputs: head.columns, rows: rows, to: place)
        }
        let inputs = try BFloat16Rows(rounding: x.pointer, rows: rows, columns: head.columns, scratch)
        for part in rounded {
            let own = GradientPlace(
                pointer: place.pointer + part.outputs.lowerBound * place.stride, stride: place.stride)
            try WeightGradientProduct.add(part.gradient, inputs, to: own, scratch: scratch)
        }
    }

    /// Adds those of the final norm, and of the projection between it and the head, if there is one.
    ///
    /// - Parameters:
    ///   - rows: of the state, which is settled at the end.
    ///   - normed: the gradients with respect to the normed rows.
    ///   - slopes: those with respect to what the head took.
    func addFinalNormGradients(
        _ state: NativeState, _ rows: [Int], _ normed: FloatBuffer, _ slopes: FloatBuffer,
        to sums: any WeightGradientSums
    ) throws(PruneError) {
        let width = config.hiddenSize
        if let projection = weights.headProjection, sums.place(ofMatrix: 0, projection.weight) != nil {
            let x = try normedRows(rows.map { LogitRow(state: state, row: $0) })
            try BLAS.products { () throws(PruneError) in
                try Float32Products(self).addWeightGradient(slopes, x, of: projection, matrix: 0, to: sums)
            }
        }
        guard let norm = weights.finalNorm, sums.wants(norm) else { return }
        let x = try scratch.buffer(rows.count * width)
        for (place, row) in rows.enumerated() {
            (x.pointer + place * width).update(from: state.values.pointer + row * width, count: width)
        }
        try addNormGradient(of: norm, normed.pointer, at: [x], to: sums)
    }

    /// Adds the gradients of the embedding, its positions and its projection, from those with respect to the states before
    /// sublayer 0.
    func addEmbeddingGradients(_ gradient: any HiddenState, to sums: any WeightGradientSums) throws(PruneError) {
        let gradient = try native(gradient)
        let batch = gradient.batch
        if let plan = config.embedding.positions, let positions = weights.positions,
            let place = sums.place(ofMatrix: 0, positions)
        {
            for sequence in batch.sequences {
                for (index, row) in batch.rows(ofSequence: sequence).enumerated() {
                    Kernels.add(
                        gradient.values.pointer + row * config.hiddenSize,
                        to: place.pointer + (plan.offset + index) * place.stride, config.hiddenSize)
                }
            }
        }
        let slopes = try embeddingGradient(gradient, to: sums)
        guard let place = sums.place(ofMatrix: 0, weights.embedding) else { return }
        let width = config.embedding.width
        // In the order of the rows: a token may come more than once.
        for (row, token) in batch.data.tokens[batch.tokens].enumerated() {
            Kernels.add(
                slopes.pointer + row * width, times: config.embedding.scale,
                to: place.pointer + Int(token) * place.stride, width)
        }
    }

    /// The gradient with respect to scaled rows of the embedding; adds that of the projection that they go through.
    private func embeddingGradient(
        _ gradient: NativeState, to sums: any WeightGradientSums
    ) throws(PruneError) -> FloatBuffer {
        guard let projection = weights.embeddingProjection else { return gradient.values }
        let rows = gradient.batch.rowCount
        return try BLAS.products { () throws(PruneError) in
            let products = Float32Products(self)
            if sums.place(ofMatrix: 0, projection.weight) != nil {
                let width = config.embedding.width
                let x = try scratch.buffer(rows * width)
                for (row, token) in gradient.batch.data.tokens[gradient.batch.tokens].enumerated() {
                    weights.embedding.widen(first: Int(token), count: 1, into: x.pointer + row * width)
                }
                if config.embedding.scale != 1 {
                    for index in 0..<x.count { x.pointer[index] *= config.embedding.scale }
                }
                try products.addWeightGradient(gradient.values, x, of: projection, matrix: 0, to: sums)
            }
            return try products.pullback([(gradient.values, projection)], runs: [rows])
        }
    }
}
