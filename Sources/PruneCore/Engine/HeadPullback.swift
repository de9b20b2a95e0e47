// SPDX-License-Identifier: Apache-2.0
extension NativeModel {
    public func headPullback(
        _ state: any HiddenState, _ objective: HeadObjective, at rows: [Int], weights: [Float]
    ) throws(PruneError) -> (losses: [Float], gradient: any HiddenState) {
        try headPullback(state, objective, of: nil, at: rows, weights: weights, addingTo: nil)
    }

    /// The same, beside a teacher and with the gradients of final norm and head.
    ///
    /// - Parameters:
    ///   - teacher: whose final norm and head make the logits of the reference; nil = this model's.
    ///   - sums: where the gradients of weights are added; nil = they are not wanted.
    func headPullback(
        _ state: any HiddenState, _ objective: HeadObjective, of teacher: NativeModel?, at rows: [Int],
        weights: [Float], addingTo sums: (any WeightGradientSums)?
    ) throws(PruneError) -> (losses: [Float], gradient: any HiddenState) {
        let given = try native(state)
        let gradient = try zeroGradient(of: given)
        let losses = try headLosses(
            given, objective, of: teacher, HeadRows(rows: rows, weights: weights), to: gradient, sums)
        return (losses, try unsettled(gradient, of: given, before: shape.sublayerCount))
    }

    /// The losses of some rows beside a teacher, without gradients.
    func headLosses(
        _ state: any HiddenState, _ objective: HeadObjective, of teacher: NativeModel, at rows: [Int]
    ) throws(PruneError) -> [Float] {
        let weights = [Float](repeating: 1, count: rows.count)
        return try headLosses(
            native(state), objective, of: teacher, HeadRows(rows: rows, weights: weights), to: nil, nil)
    }

    private func zeroGradient(of state: NativeState) throws(PruneError) -> NativeState {
        let gradient = NativeState(
            state.batch, try scratch.buffer(state.values.count), before: shape.sublayerCount)
        gradient.values.pointer.update(repeating: 0, count: gradient.values.count)
        return gradient
    }

    /// - Parameter gradient: where the gradient with respect to the state, settled at the end, is added; nil = none is wanted.
    private func headLosses(
        _ given: NativeState, _ objective: HeadObjective, of teacher: NativeModel?, _ all: HeadRows,
        to gradient: NativeState?, _ sums: (any WeightGradientSums)?
    ) throws(PruneError) -> [Float] {
        let (rows, weights) = (all.rows, all.weights)
        let state = try settledAtEnd(given)
        let reference = try objective.reference.map { other throws(PruneError) in
            try (teacher ?? self).settledAtEnd(other)
        }
        guard reference == nil || reference?.batch === state.batch else {
            throw PruneError(.internal, "logits of two different batches were compared")
        }
        let tokens = try targets(objective, state.batch, at: rows, weights)
        let most = logitRows(states: reference == nil ? 1 : 2)
        var losses: [Float] = []
        losses.reserveCapacity(rows.count)
        for first in stride(from: 0, to: rows.count, by: most) {
            let part = first..<min(first + most, rows.count)
            let call = HeadPullback(
                state: state, reference: reference, teacher: teacher, objective: objective,
                own: HeadRows(
                    rows: Array(rows[part]), tokens: tokens.isEmpty ? [] : Array(tokens[part]),
                    weights: Array(weights[part])),
                gradient: gradient, sums: sums)
            losses += try readingHead { () throws(PruneError) in
                try BLAS.products(in: compute) { () throws(PruneError) in try addHeadPullback(call) }
            }
        }
        return losses
    }

    /// Rows of a state whose logits stand in memory together.
    private struct HeadRows {
        let rows: [Int]
        /// Empty but for cross-entropy.
        var tokens: [Int32] = []
        let weights: [Float]
    }

    /// Some rows whose gradients go back through the head together.
    private struct HeadPullback {
        /// Settled at the end, both.
        let state: NativeState
        let reference: NativeState?
        /// Whose logits those of the reference are; nil = the model's own.
        let teacher: NativeModel?
        let objective: HeadObjective
        let own: HeadRows
        /// Where the gradient with respect to the state is added; nil = losses alone are wanted.
        let gradient: NativeState?
        let sums: (any WeightGradientSums)?
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
    private func addHeadPullback(_ call: HeadPullback) throws(PruneError) -> [Float] {
        let (own, objective) = (call.own, call.objective)
        let (width, entries) = (config.embedding.width, weights.head.rows)
        let count = own.rows.count
        let (x, logits) = try logits(call)
        let finish = try LogitFinish(self)
        let slots = ThreadPool.threads
        let kept = try scratch.buffer(finish.needsLogits ? slots * entries : 0)
        let rounded = try compute == .bfloat16 && call.gradient != nil ? roundedParts(rows: count) : []
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
        guard let gradient = call.gradient else {
            return Array(UnsafeBufferPointer(start: losses.pointer, count: count))
        }
        if let sums = call.sums { try addHeadGradients(logits, rounded, x, rows: count, to: sums) }
        let slopes = try scratch.buffer(count * width)
        if compute == .bfloat16 {
            let run = BFloat16Product.Run(rows: 0..<count, out: slopes.pointer, stride: width)
            try BFloat16Product.pullback(rounded, to: [run], scratch: scratch)
        } else {
            let term = GradientTerm(UnsafePointer(logits.pointer), weights.head)
            try MatrixProduct.pullback([term], runs: [count], into: slopes.pointer, scratch: scratch)
        }
        let normed = try headInputGradient(slopes, rows: count)
        if let sums = call.sums { try addFinalNormGradients(call.state, own.rows, normed, slopes, to: sums) }
        addFinalNormPullback(call.state, own.rows, of: normed, try weights.finalNorm?.prepared(scratch), to: gradient)
        return Array(UnsafeBufferPointer(start: losses.pointer, count: count))
    }

    /// What the head takes of the rows of the state, those of the reference behind them if both are made by one head; and
    /// the logits of the state, then of the reference.
    private func logits(_ call: HeadPullback) throws(PruneError) -> (x: FloatBuffer, logits: FloatBuffer) {
        let count = call.own.rows.count
        func rows(of state: NativeState) -> [LogitRow] { call.own.rows.map { LogitRow(state: state, row: $0) } }
        guard let reference = call.reference else {
            let x = try finalNormed(rows(of: call.state))
            let logits = try scratch.buffer(count * weights.head.rows)
            try makeLogits(of: x, runs: [count], into: logits.pointer)
            return (x, logits)
        }
        let logits = try scratch.buffer(2 * count * weights.head.rows)
        guard let teacher = call.teacher else {
            let x = try finalNormed(rows(of: call.state) + rows(of: reference))
            try makeLogits(of: x, runs: [count, count], into: logits.pointer)
            return (x, logits)
        }
        let x = try finalNormed(rows(of: call.state))
        try makeLogits(of: x, runs: [count], into: logits.pointer)
        try teacher.readingHead { () throws(PruneError) in
            try BLAS.products(in: teacher.compute) { () throws(PruneError) in
                try teacher.makeLogits(
                    of: teacher.finalNormed(rows(of: reference)), runs: [count],
                    into: logits.pointer + count * weights.head.rows)
            }
        }
        return (x, logits)
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
        _ state: NativeState, _ rows: [Int], of slopes: FloatBuffer, _ norm: PreparedNorm?, to gradient: NativeState
    ) {
        let width = config.hiddenSize
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
