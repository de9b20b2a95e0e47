// SPDX-License-Identifier: Apache-2.0
/// The way of a batch through a model whose weights are trained, and back.
///
/// Below the lowest trained sublayer nothing is kept, and no gradient goes there. What the teacher has in common with the
/// model, which is all up to there that a mask leaves, is computed once.
struct HealingPass {
    let student: HealedModel
    /// What the student is to be like; nil = the objective compares with the data.
    let teacher: HealedModel?
    let objective: RecoveryObjective
    /// Whether the teacher has the weights that the student started from.
    let sharesWeights: Bool
    /// The lowest sublayer with trained weights; the count of sublayers if there is none.
    let lowest: Int
    let reachesEmbedding: Bool
    /// Told of every sublayer, forward or back; nil = nobody listens.
    var meter: ProgressMeter?

    private var end: Int { student.native.shape.sublayerCount }

    /// Sublayers of student and teacher that no step changes, and that they have in common.
    private var common: Int {
        guard let teacher, sharesWeights, !reachesEmbedding else { return 0 }
        let ways = (0..<lowest).first { sublayer in
            student.acts(sublayer) != teacher.acts(sublayer)
                || student.mask.keeps(sublayer) != teacher.mask.keeps(sublayer)
                || student.adapters[sublayer] != teacher.adapters[sublayer]
        }
        return ways ?? lowest
    }

    /// The states that no step changes: the student's before `lowest`, or nil where the embedding is trained; and the
    /// teacher's after its last sublayer.
    struct Fixed {
        let batch: TokenBatch
        let start: (any HiddenState)?
        let reference: (any HiddenState)?
    }

    /// Errors: those of the models.
    func fixed(_ batch: TokenBatch) throws(PruneError) -> Fixed {
        let common = common
        let begin = reachesEmbedding ? nil : try student.run(student.native.start(batch), 0..<common, meter)
        var reference: (any HiddenState)?
        if let teacher {
            let shared = sharesWeights ? begin : nil
            let start = if let shared { shared } else { try teacher.native.start(batch) }
            reference = try teacher.run(
                start, (shared == nil ? 0 : common)..<teacher.native.shape.sublayerCount, meter)
        }
        let start = try begin.map { state throws(PruneError) in try student.run(state, common..<lowest, meter) }
        return Fixed(batch: batch, start: start, reference: reference)
    }

    /// The objective of a batch. Errors: `.nonFinite`, naming the layer; those of the models.
    func value(_ fixed: Fixed) throws(PruneError) -> ObjectiveSum {
        let start = if let start = fixed.start { start } else { try student.native.start(fixed.batch) }
        let state = try student.run(start, (fixed.start == nil ? 0 : lowest)..<end, meter)
        let rows = state.batch.predictingRows(weighted: true)
        guard !rows.isEmpty else { return ObjectiveSum() }
        let losses =
            if let teacher {
                try student.native.headLosses(
                    state, headObjective(fixed.reference), of: teacher.native, at: rows)
            } else {
                try student.native.losses(state, at: rows, of: state.batch.followers(of: rows))
            }
        return try finite(ObjectiveSum(losses, weights: state.batch.weights(ofPredicting: rows)), fixed)
    }

    /// Adds the gradients of the objective's sum (not its mean) with respect to trained tensors to `sums`.
    ///
    /// Errors: `.nonFinite`, naming the layer; those of the models.
    func addGradients(_ batch: TokenBatch, to sums: TensorGradients) throws(PruneError) -> ObjectiveSum {
        let fixed = try fixed(batch)
        let first = reachesEmbedding ? 0 : lowest
        var state = if let start = fixed.start { start } else { try student.native.start(batch) }
        var states: [(sublayer: Int, state: any HiddenState)] = []
        for sublayer in first..<end where student.acts(sublayer) {
            states.append((sublayer, state))
            state = try student.apply(sublayer, to: state)
            try meter?.advance()
        }
        let rows = batch.predictingRows(weighted: true)
        guard !rows.isEmpty else { return ObjectiveSum() }
        let weights = batch.weights(ofPredicting: rows)
        var (losses, gradient) = try student.native.headPullback(
            state, headObjective(fixed.reference), of: teacher?.native, at: rows, weights: weights, addingTo: sums)
        let value = try finite(ObjectiveSum(losses, weights: weights), fixed)
        while let (sublayer, state) = states.popLast() {
            gradient = try student.pullback(sublayer, at: state, of: gradient, addingTo: sums)
            try meter?.advance()
        }
        if reachesEmbedding { try student.native.addEmbeddingGradients(gradient, to: sums) }
        return value
    }

    /// Sublayers applied to a batch on the way forward and back at most, for a meter.
    var stepsPerBatch: Int { (teacher == nil ? 2 : 3) * end }

    private func headObjective(_ reference: (any HiddenState)?) throws(PruneError) -> HeadObjective {
        switch (objective, reference) {
        case (.crossEntropy, _): return .crossEntropy
        case (.kl, let reference?): return .kl(reference)
        case (.js, let reference?): return .js(reference)
        default: throw PruneError(.internal, "\(objective.name) was asked of a head, or had nothing to compare with")
        }
    }

    /// Errors: `.nonFinite`, naming where it began.
    private func finite(_ value: ObjectiveSum, _ fixed: Fixed) throws(PruneError) -> ObjectiveSum {
        guard !value.sum.isFinite else { return value }
        if let teacher, let reference = fixed.reference {
            let isFinite = try teacher.native.read(reference) { values throws(PruneError) in
                values.indices.allSatisfy { values[$0].isFinite }
            }
            if !isFinite { throw try teacher.nonFiniteError(in: fixed.batch) }
        }
        throw try student.nonFiniteError(in: fixed.batch)
    }
}

extension ObjectiveSum {
    /// Losses, each counted by its weight.
    fileprivate init(_ losses: [Float], weights: [Float]) {
        for (loss, weight) in zip(losses, weights) {
            sum += Double(weight) * Double(loss)
            self.weight += Double(weight)
        }
    }
}

/// The objective of a healing on held-out data, looked at again and again.
struct HealingLooks {
    /// Bytes of states kept between looks at most; beyond it they are computed each time.
    private static let memoryLimit = 256 << 20

    private let batches: [TokenBatch]
    /// What no step changes, for each batch; nil = computed each time.
    private let fixed: [HealingPass.Fixed]?

    /// - Parameter pass: its meter is told of what is computed here; looks have their own.
    /// Errors: `.data` if there is nothing to predict; those of the models.
    init(_ pass: HealingPass, _ data: TokenData, batchTokens: Int) throws(PruneError) {
        batches = data.batches(of: batchTokens)
        try checkPredicts(batches)
        let bytesPerRow = pass.student.native.shape.hiddenSize * MemoryLayout<Float>.stride * 2
        guard data.tokens.count <= Self.memoryLimit / max(1, bytesPerRow) else {
            fixed = nil
            return
        }
        var own: [HealingPass.Fixed] = []
        for batch in batches { own.append(try pass.fixed(batch)) }
        fixed = own
    }

    /// Sublayers that a look applies at most, for a meter.
    func steps(_ pass: HealingPass) -> Int { batches.count * pass.stepsPerBatch }

    /// Errors: `.nonFinite`, naming the layer; `.cancelled`; those of the models.
    func loss(_ pass: HealingPass) throws(PruneError) -> Double {
        var total = ObjectiveSum()
        for (index, batch) in batches.enumerated() {
            let own = if let fixed { fixed[index] } else { try pass.fixed(batch) }
            total += try pass.value(own)
        }
        return total.mean
    }
}
