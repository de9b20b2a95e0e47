// SPDX-License-Identifier: Apache-2.0
/// Trains weights of a model by AdamW.
struct Healing {
    private let data: TokenData
    private let options: HealingOptions
    private let pass: HealingPass
    private let looks: HealingLooks
    private let tensors: any TensorParameterisation
    private let gradients: TensorGradients
    private let schedule: TrainingSchedule
    private let optimiser: AdamW
    private var batches: TrainingBatches
    /// Of what is saved.
    private let fingerprint: UInt64
    /// Told within steps and looks, which may be long; nil = nobody listens.
    private let progress: ProgressMeter.Listener?
    private let began = ProgressMeter.now()

    /// Numbers that one thread moves, or sums, at a time. Fixed, so that sums do not depend on the threads.
    private static let stretch = 1 << 15

    /// - Parameters:
    ///   - pass: of a student that reads `tensors`.
    ///   - fingerprint: what tells this training from others.
    ///   - progress: told of the sublayers of each step and look; returns true to stop.
    /// Errors: `.data` if there is nothing to predict; `.memory`; `.cancelled`; those of the models.
    init(
        _ pass: HealingPass, _ tensors: any TensorParameterisation, _ data: TokenData, heldOut: TokenData,
        _ options: HealingOptions, fingerprint: UInt64, progress: ProgressMeter.Listener?
    ) throws(PruneError) {
        self.data = data
        self.options = options
        self.pass = pass
        self.tensors = tensors
        self.fingerprint = fingerprint
        self.progress = progress
        gradients = try TensorGradients(tensors.tensors)
        let sequences = data.predictingSequences
        guard !sequences.isEmpty else {
            throw PruneError(
                .data,
                "nothing to predict: every sequence has one token, or every token weight is 0; give longer sequences")
        }
        var watched = pass
        watched.meter = ProgressMeter(
            stage: "held-out data", total: heldOut.batches(of: options.batchTokens).count * pass.stepsPerBatch,
            listener: progress)
        looks = try HealingLooks(watched, heldOut, batchTokens: options.batchTokens)
        schedule = TrainingSchedule(options)
        optimiser = AdamW(weightDecay: options.weightDecay, beta2: AdamW.usualBeta2)
        batches = TrainingBatches(sequences, stepSequences: options.batchSequences, seed: options.seed)
    }

    /// Trains on from a state to the end, or until no look is better any more; then the tensors are those of the lowest
    /// held-out loss.
    ///
    /// - Parameter listener: told after every step; returns true to stop.
    /// Errors: `.nonFinite`, naming step and layer; `.cancelled`; `.file`. The last good checkpoint stays.
    mutating func run(_ state: inout HealingState, listener: ((TrainingProgress) -> Bool)?) throws(PruneError) {
        let begin = ProgressMeter.now()
        let (secondsBefore, tokensBefore) = (state.report.seconds, state.report.trainedTokens)
        if state.report.history.isEmpty {
            try state.look(try heldOutLoss(state))
            try save(state)
        }
        while !isDone(state) {
            do throws(PruneError) { try step(&state) } catch {
                // A step that is stopped midway changes nothing: the last whole one is kept.
                if error.kind == .cancelled { try save(state) }
                throw error
            }
            let step = state.report.steps
            if step % options.lookInterval == 0 || step == options.steps { try state.look(try heldOutLoss(state)) }
            let seconds = ProgressMeter.now() - begin
            state.report.seconds = secondsBefore + seconds
            let isSaved = step % (options.checkpointEvery ?? options.lookInterval) == 0 || isDone(state)
            if isSaved { try save(state) }
            guard let listener else { continue }
            let told = TrainingProgress(
                step: step, steps: options.steps, loss: state.lastLoss,
                heldOutLoss: state.report.history.last?.heldOutLoss ?? .nan, bestLoss: state.report.lossAfter,
                learningRate: state.lastRate,
                tokensPerSecond: Double(state.report.trainedTokens - tokensBefore) / max(seconds, 1e-9),
                seconds: seconds)
            if listener(told), !isDone(state) {
                if !isSaved { try save(state) }
                throw PruneError(
                    .cancelled, "cancelled by the progress callback after step \(step) of \(options.steps)")
            }
        }
        state.report.seconds = secondsBefore + ProgressMeter.now() - begin
        for parameter in state.parameters { parameter.best.copy(to: parameter.values.pointer) }
        try tensors.write(for: .look)
    }

    private func isDone(_ state: HealingState) -> Bool {
        state.report.steps >= options.steps || options.patience.map { state.looksSinceBest >= $0 } ?? false
    }

    private func save(_ state: HealingState) throws(PruneError) {
        guard let path = options.checkpoint else { return }
        try HealingCheckpoint.write(state, fingerprint, to: path)
    }

    private func heldOutLoss(_ state: HealingState) throws(PruneError) -> Double {
        let stage = "held-out data after step \(state.report.steps)"
        try tensors.write(for: .look)
        do throws(PruneError) { return try looks.loss(metered(stage, steps: looks.steps(pass))) } catch {
            throw Self.told(error, stage)
        }
    }

    /// The pass, with what counts its sublayers if somebody listens.
    private func metered(_ stage: String, steps: Int) -> HealingPass {
        guard let progress else { return pass }
        let before = ProgressMeter.now() - began
        var pass = pass
        pass.meter = ProgressMeter(stage: stage, total: steps) { progress($0.later(by: before)) }
        return pass
    }

    /// One step. The state is changed only if it succeeds.
    private mutating func step(_ state: inout HealingState) throws(PruneError) {
        let number = state.report.steps + 1
        var used = state.sequencesUsed
        let sequences = batches.next(after: &used)
        try tensors.write(for: .step(number))
        let value = try addGradients(sequences, step: number)
        let slopes = try tensors.gradients(of: gradients)
        let scale = 1 / value.weight
        let norm = scale * Self.norm(slopes)
        guard norm.isFinite else { throw nonFiniteGradient(slopes, state.parameters, step: number) }
        let clip = options.clipNorm.map { norm > $0 ? $0 / norm : 1 } ?? 1
        let rate = schedule.learningRate(atStep: number)
        for (parameter, slope) in zip(state.parameters, slopes) {
            let rates = optimiser.rates(
                times: scale * clip, learningRate: rate, step: number, decays: parameter.decays)
            let count = parameter.values.count
            let (p, m, v) = (parameter.values.pointer, parameter.first.pointer, parameter.second.pointer)
            ThreadPool.forEach((count + Self.stretch - 1) / Self.stretch) { piece, _ in
                // Safe: no two pieces overlap, and all buffers have as many numbers.
                let at = piece * Self.stretch
                Kernels.stepAdamW(p + at, m + at, v + at, slope.pointer + at, min(Self.stretch, count - at), rates)
            }
        }
        state.sequencesUsed = used
        state.report.steps = number
        state.report.trainedTokens += sequences.reduce(0) { $0 + data.offsets[$1 + 1] - data.offsets[$1] }
        state.lastLoss = value.mean
        state.lastRate = rate
        state.lossSinceLook += value.mean
        state.stepsSinceLook += 1
    }

    /// The gradients of the objective's sum over some sequences, some of them at a time.
    private func addGradients(_ sequences: [Int], step: Int) throws(PruneError) -> ObjectiveSum {
        gradients.clear()
        var total = ObjectiveSum()
        do throws(PruneError) {
            let batches = try data.selecting(sequences).batches(of: options.batchTokens)
            let pass = metered("training step \(step)", steps: batches.count * pass.stepsPerBatch)
            for batch in batches { total += try pass.addGradients(batch, to: gradients) }
        } catch {
            throw error.kind == .nonFinite ? try nonFiniteError(error, sequences, step: step) : error
        }
        return total
    }

    /// Of all gradients together, summed in a fixed order.
    private static func norm(_ gradients: [FloatBuffer]) -> Double {
        gradients.reduce(0.0) { total, gradient in
            let count = gradient.count
            let pieces = (count + stretch - 1) / stretch
            var sums = [Double](repeating: 0, count: pieces)
            sums.withUnsafeMutableBufferPointer { sums in
                // Safe: each index is written by one thread, once.
                nonisolated(unsafe) let sums = sums
                ThreadPool.forEach(pieces) { piece, _ in
                    let own = gradient.pointer + piece * stretch
                    sums[piece] = Kernels.dot(own, own, min(stretch, count - piece * stretch))
                }
            }
            return sums.reduce(total, +)
        }.squareRoot()
    }

    /// What is wrong, with the place in the data given: an error from a step's own batches counts their sequences.
    private func nonFiniteError(_ error: PruneError, _ sequences: [Int], step: Int) throws(PruneError) -> PruneError {
        for sequence in sequences {
            do throws(PruneError) {
                _ = try pass.value(try pass.fixed(TokenBatch(data, sequence..<sequence + 1)))
            } catch { return Self.told(error, "training step \(step)") }
        }
        return Self.told(error, "training step \(step)")
    }

    private static func told(_ error: PruneError, _ place: String) -> PruneError {
        guard error.kind == .nonFinite else { return error }
        return PruneError(.nonFinite, "\(place): \(error.message), or lower the learning rate")
    }

    private func nonFiniteGradient(
        _ gradients: [FloatBuffer], _ parameters: [TrainedParameter], step: Int
    ) -> PruneError {
        let places = zip(gradients, parameters).filter { gradient, _ in
            !(0..<gradient.count).allSatisfy { gradient.pointer[$0].isFinite }
        }.map(\.1.name)
        return PruneError(
            .nonFinite,
            "training step \(step): the gradient of \(places.prefix(3).joined(separator: ", ")) is not finite; lower the learning rate"
        )
    }
}
