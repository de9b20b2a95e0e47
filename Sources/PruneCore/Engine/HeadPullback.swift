// SPDX-License-Identifier: Apache-2.0
extension NativeModel {
    public func headPullback(
        _ state: any HiddenState, _ objective: HeadObjective, at rows: [Int], weights: [Float]
    ) throws(PruneError) -> (losses: [Float], gradient: any HiddenState) {
        let given = try native(state)
        let state = try settledAtEnd(given)
        let reference = try objective.reference.map { other throws(PruneError) in try settledAtEnd(other) }
        guard reference == nil || reference?.batch === state.batch else {
            throw PruneError(.internal, "logits of two different batches were compared")
        }
        let tokens = try targets(objective, state.batch, at: rows, weights)
        let gradient = NativeState(
            state.batch, try scratch.buffer(state.values.count), before: shape.sublayerCount)
        gradient.values.pointer.update(repeating: 0, count: gradient.values.count)
        let most = logitRows(states: reference == nil ? 1 : 2)
        var losses: [Float] = []
        losses.reserveCapacity(rows.count)
        for first in stride(from: 0, to: rows.count, by: most) {
            let part = first..<min(first + most, rows.count)
            let own = HeadRows(
                rows: Array(rows[part]), tokens: tokens.isEmpty ? [] : Array(tokens[part]),
                weights: Array(weights[part]))
            losses += try readingHead { () throws(PruneError) in
                try BLAS.products(in: compute) { () throws(PruneError) in
                    try addHeadPullback(state, reference, objective, own, to: gradient)
                }
            }
        }
        return (losses, try unsettled(gradient, of: given, before: shape.sublayerCount))
    }

    /// Rows of a state whose logits stand in memory together.
    private struct HeadRows {
        let rows: [Int]
        /// Empty but for cross-entropy.
        let tokens: [Int32]
        let weights: [Float]
    }

    /// Bytes of all logits of some rows, and of their gradient.
    private static let logitBytes = 128 << 20

    /// Outputs whose weights a thread packs at a time: so many fit the second-level cache.
    private static let packedOutputs = 4096

    /// Rows whose logits are made together. Fixed by the model, so that results do not depend on the memory at hand.
    private func logitRows(states: Int) -> Int {
        // The gradient takes the place of the logits; in bf16 it is rounded to memory of its own.
        let halves = 2 * states + (compute == .bfloat16 ? 1 : 0)
        return max(1, min(LogitTile.rows(compute), Self.logitBytes / (2 * halves * config.vocabularySize)))
    }

    /// The tokens that follow the rows, if the objective asks for them. Errors: `.internal` for rows that are none of the
    /// batch, descend or have no token that follows, and for tokens outside the vocabulary.
    private func targets(
        _ objective: HeadObjective, _ batch: TokenBatch, at rows: [Int], _ weights: [Float]
    ) throws(PruneError) -> [Int32] {
        guard let first = rows.first, let last = rows.last, first >= 0, last < batch.rowCount,
            zip(rows, rows.dropFirst()).allSatisfy(<), rows.count == weights.count
        else {
            throw PruneError(
                .internal, "a gradient was asked for rows that do not ascend, or without a weight for each")
        }
        guard case .crossEntropy = objective else { return [] }
        guard Set(batch.lastRows).isDisjoint(with: rows) else {
            throw PruneError(.internal, "a loss was asked of the last row of a sequence, which predicts nothing")
        }
        let tokens = batch.followers(of: rows)
        guard tokens.allSatisfy((0..<Int32(clamping: config.vocabularySize)).contains) else {
            throw PruneError(.internal, "losses were asked of tokens outside the vocabulary")
        }
        return tokens
    }

    /// Adds the gradient of some rows and returns their losses. The logits of state and reference come from one reading of
    /// the head, and each from a product of its own, so equal states have equal logits.
    private func addHeadPullback(
        _ state: NativeState, _ reference: NativeState?, _ objective: HeadObjective, _ own: HeadRows,
        to gradient: NativeState
    ) throws(PruneError) -> [Float] {
        let (width, entries) = (config.embedding.width, weights.head.rows)
        let count = own.rows.count
        let states = [state] + (reference.map { [$0] } ?? [])
        let x = try finalNormed(states.flatMap { state in own.rows.map { LogitRow(state: state, row: $0) } })
        let logits = try scratch.buffer(states.count * count * entries)
        try makeLogits(of: x, runs: states.map { _ in count }, into: logits.pointer)
        let finish = try LogitFinish(self)
        let slots = ThreadPool.threads
        let kept = try scratch.buffer(finish.needsLogits ? slots * entries : 0)
        let rounded = try compute == .bfloat16 ? roundedParts(rows: count) : []
        let losses = try scratch.buffer(count)
        ThreadPool.forEach(count, slots: slots) { row, slot in
            // Safe: each row is worked on by one thread, and the buffers hold all rows, and a row for each slot.
            let place = logits.pointer + row * entries
            let logits = kept.pointer + slot * entries
            if finish.needsLogits { logits.update(from: place, count: entries) }
            losses.pointer[row] = Self.lossAndSlope(objective, own, row, place, place + count * entries, entries)
            if finish.needsLogits { finish.pullback(logits, place, entries) }
            for part in rounded {
                Kernels.round(place + part.outputs.lowerBound, into: part.gradient.row(row), part.outputs.count)
            }
        }
        let slopes = try scratch.buffer(count * width)
        if compute == .bfloat16 {
            let run = BFloat16Product.Run(rows: 0..<count, out: slopes.pointer, stride: width)
            try BFloat16Product.pullback(rounded, to: [run], scratch: scratch)
        } else {
            let term = GradientTerm(UnsafePointer(logits.pointer), weights.head)
            try MatrixProduct.pullback([term], runs: [count], into: slopes.pointer, scratch: scratch)
        }
        try addFinalNormPullback(state, own.rows, of: headInputGradient(slopes, rows: count), to: gradient)
        return Array(UnsafeBufferPointer(start: losses.pointer, count: count))
    }

    /// Room for the gradient with respect to the logits of some rows in bf16, the vocabulary cut into parts.
    private func roundedParts(rows: Int) throws(PruneError) -> [GradientTerm<BFloat16Rows>] {
        let head = weights.head
        return try stride(from: 0, to: head.rows, by: Self.packedOutputs).map { first throws(PruneError) in
            let outputs = first..<min(first + Self.packedOutputs, head.rows)
            let gradient = try BFloat16Rows(rows: rows, columns: outputs.count, scratch)
            return GradientTerm(gradient, head, outputs: outputs)
        }
    }

    /// The loss of one row; its logits become its gradient.
    private static func lossAndSlope(
        _ objective: HeadObjective, _ own: HeadRows, _ row: Int, _ logits: UnsafeMutablePointer<Float>,
        _ reference: UnsafeMutablePointer<Float>, _ entries: Int
    ) -> Float {
        let (softmax, weight) = (SoftmaxRow(logits, entries), own.weights[row])
        return switch objective {
        case .crossEntropy: softmax.crossEntropy(of: Int(own.tokens[row]), weight: weight)
        case .kl: softmax.relativeEntropy(from: SoftmaxRow(reference, entries), weight: weight)
        case .js: softmax.divergence(from: SoftmaxRow(reference, entries), weight: weight)
        }
    }

    /// The gradient with respect to normed rows, from that with respect to what the head takes.
    private func headInputGradient(_ slopes: FloatBuffer, rows: Int) throws(PruneError) -> FloatBuffer {
        guard let projection = weights.headProjection else { return slopes }
        return try BLAS.products { () throws(PruneError) in
            try Float32Products(self).pullback([(slopes, projection)], runs: [rows])
        }
    }

    /// Adds to the rows of `gradient` what the gradient with respect to their normed values means for them.
    private func addFinalNormPullback(
        _ state: NativeState, _ rows: [Int], of slopes: FloatBuffer, to gradient: NativeState
    ) throws(PruneError) {
        let width = config.hiddenSize
        let norm = try weights.finalNorm?.prepared(scratch)
        forEachPiece(of: rows.count) { piece in
            for place in piece {
                let out = gradient.values.pointer + rows[place] * width
                let slope = slopes.pointer + place * width
                if let norm {
                    norm.addPullback(state.values.pointer + rows[place] * width, width: width, of: slope, to: out)
                } else {
                    Kernels.add(slope, to: out, width)
                }
            }
        }
    }
}

extension HeadObjective {
    /// The state that is compared with.
    var reference: (any HiddenState)? {
        switch self {
        case .crossEntropy: nil
        case .kl(let reference), .js(let reference): reference
        }
    }
}
