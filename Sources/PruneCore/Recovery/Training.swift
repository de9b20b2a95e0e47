// SPDX-License-Identifier: Apache-2.0
/// Trains adapters, and nothing else, by AdamW.
struct Training {
    private let data: TokenData
    private let options: TrainingOptions
    private let batchTokens: Int
    private let pass: GradientPass
    private let heldOut: HeldOutObjective
    private let schedule: TrainingSchedule
    private let optimiser: AdamW
    private var batches: TrainingBatches
    /// Of what is saved.
    private let fingerprint: UInt64
    /// Told within steps and looks, which may be long; nil = nobody listens.
    private let progress: ProgressMeter.Listener?
    private let began = ProgressMeter.now()

    /// - Parameters:
    ///   - fingerprint: what tells this training from others.
    ///   - progress: told of the sublayers of each step and look; returns true to stop.
    /// Errors: `.data` if there is nothing to predict; `.cancelled`; those of the model.
    init(
        _ model: any Model, _ data: TokenData, heldOut: TokenData, under mask: KeepMask,
        _ adapterOptions: AdapterOptions,
        _ options: TrainingOptions, kind: AdapterKind, fingerprint: UInt64, progress: ProgressMeter.Listener? = nil
    ) throws(PruneError) {
        self.data = data
        self.options = options
        self.fingerprint = fingerprint
        self.progress = progress
        batchTokens = adapterOptions.batchTokens
        pass = GradientPass(model, mask, options.objective)
        var watched = pass
        watched.meter = ProgressMeter(
            stage: "held-out data", total: heldOut.batches(of: batchTokens).count * pass.stepsPerBatch,
            listener: progress)
        self.heldOut = try HeldOutObjective(watched, heldOut, batchTokens: batchTokens)
        schedule = TrainingSchedule(options, kind: kind, width: model.shape.hiddenSize)
        optimiser = AdamW(weightDecay: options.weightDecay)
        let sequences = data.predictingSequences
        guard !sequences.isEmpty else {
            throw PruneError(
                .data,
                "nothing to predict: every sequence has one token, or every token weight is 0; give longer sequences")
        }
        batches = TrainingBatches(data, sequences, stepTokens: options.stepTokens, seed: adapterOptions.seed)
    }

    /// Trains on from a state to the end, or until no look is better any more.
    ///
    /// - Parameter listener: told after every step; returns true to stop.
    /// Errors: `.nonFinite`, naming step and layer; `.cancelled`; `.file`. The last good checkpoint stays.
    mutating func run(_ state: inout TrainingState, listener: ((TrainingProgress) -> Bool)?) throws(PruneError) {
        let begin = ProgressMeter.now()
        let (secondsBefore, tokensBefore) = (state.report.seconds, state.report.trainedTokens)
        if state.report.history.isEmpty {
            try state.look(try heldOutLoss(state))
            try save(state)
        }
        while !isDone(state) {
            let rate: Double
            do throws(PruneError) { rate = try step(&state) } catch {
                // A step that is stopped midway changes nothing: the last whole one is kept.
                if error.kind == .cancelled { try save(state) }
                throw error
            }
            let step = state.report.steps
            let seconds = ProgressMeter.now() - begin
            if step % lookInterval == 0 || step == options.steps { try state.look(try heldOutLoss(state)) }
            state.report.seconds = secondsBefore + seconds
            let isSaved = step % (options.checkpointEvery ?? lookInterval) == 0 || isDone(state)
            if isSaved { try save(state) }
            guard let listener else { continue }
            let told = TrainingProgress(
                step: step, steps: options.steps, loss: state.lastLoss,
                heldOutLoss: state.report.history.last?.heldOutLoss ?? .nan, bestLoss: state.report.heldOutBest ?? .nan,
                learningRate: rate,
                tokensPerSecond: Double(state.report.trainedTokens - tokensBefore) / max(seconds, 1e-9),
                seconds: seconds)
            if listener(told), !isDone(state) {
                if !isSaved { try save(state) }
                throw PruneError(
                    .cancelled, "cancelled by the progress callback after step \(step) of \(options.steps)")
            }
        }
        state.report.seconds = secondsBefore + ProgressMeter.now() - begin
    }

    private var lookInterval: Int { options.evaluateEvery ?? max(1, options.steps / 20) }

    private func isDone(_ state: TrainingState) -> Bool {
        state.report.steps >= options.steps || options.patience.map { state.looksSinceBest >= $0 } ?? false
    }

    private func save(_ state: TrainingState) throws(PruneError) {
        guard let path = options.checkpoint else { return }
        let parameters = state.adapters.values.reduce(0) { $0 + $1.parameters.count }
        try Memory.require(
            48 * parameters + 96 * state.report.history.count, for: "the checkpoint of \(parameters) parameters",
            "train without a checkpoint")
        try TrainingCheckpoint.write(state, fingerprint, to: path)
    }

    private func heldOutLoss(_ state: TrainingState) throws(PruneError) -> Double {
        let stage = "held-out data after step \(state.report.steps)"
        do throws(PruneError) {
            return try heldOut.loss(state.adapters, meter(stage, steps: heldOut.steps))
        } catch { throw Self.told(error, stage) }
    }

    /// What counts the sublayers of a step or a look; nil if nobody listens.
    private func meter(_ stage: @autoclosure () -> String, steps: @autoclosure () -> Int) -> ProgressMeter? {
        guard let progress else { return nil }
        let before = ProgressMeter.now() - began
        return ProgressMeter(stage: stage(), total: steps()) { progress($0.later(by: before)) }
    }

    /// One step; gives its learning rate. The state is changed only if it succeeds.
    private mutating func step(_ state: inout TrainingState) throws(PruneError) -> Double {
        let number = state.report.steps + 1
        var used = state.sequencesUsed
        let sequences = batches.next(after: &used)
        let (gradients, value) = try gradients(state, sequences, step: number)
        let scale = 1 / value.weight
        let norm = scale * Self.norm(gradients)
        guard norm.isFinite else { throw nonFiniteGradient(gradients, step: number) }
        let clip = options.clipNorm.map { norm > $0 ? $0 / norm : 1 } ?? 1
        let rate = schedule.learningRate(atStep: number)
        for sublayer in state.sublayers {
            // Taken out for the while, so that nothing is copied.
            guard var adapter = state.adapters.removeValue(forKey: sublayer),
                var moments = state.moments.removeValue(forKey: sublayer), let gradient = gradients[sublayer]
            else { continue }
            optimiser.move(
                &adapter.parameters, decayed: adapter.width..<adapter.parameters.count, &moments, by: gradient,
                times: scale * clip, learningRate: rate, step: number)
            state.adapters[sublayer] = adapter
            state.moments[sublayer] = moments
        }
        state.sequencesUsed = used
        state.report.steps = number
        state.report.trainedTokens += sequences.reduce(0) { $0 + data.offsets[$1 + 1] - data.offsets[$1] }
        state.lastLoss = value.mean
        state.lossSinceLook += value.mean
        state.stepsSinceLook += 1
        return rate
    }

    /// The gradients of the objective's sum over some sequences, a few of them at a time.
    private func gradients(
        _ state: TrainingState, _ sequences: [Int], step: Int
    ) throws(PruneError) -> (gradients: AdapterGradients, value: ObjectiveSum) {
        // The sums, and a copy of the one that is being added to.
        let parameters = state.adapters.values.reduce(0) { $0 + $1.parameters.count }
        try Memory.require(
            8 * parameters, for: "the gradients of \(parameters) parameters",
            "use biases or a lower rank, or fewer adapters")
        var gradients = state.adapters.mapValues { [Float](repeating: 0, count: $0.parameters.count) }
        var total = ObjectiveSum()
        do throws(PruneError) {
            let batches = try data.selecting(sequences).batches(of: batchTokens)
            var pass = pass
            pass.meter = meter("training step \(step)", steps: batches.count * pass.stepsPerBatch)
            for batch in batches {
                total += try pass.addGradients(
                    batch, state.adapters, downTo: state.adapters.keys.min() ?? 0, to: &gradients)
            }
        } catch {
            throw error.kind == .nonFinite ? try nonFiniteError(error, state, sequences, step: step) : error
        }
        return (gradients, total)
    }

    private static func norm(_ gradients: AdapterGradients) -> Double {
        // In a fixed order: sums of doubles depend on it.
        gradients.keys.sorted().reduce(0.0) { sum, sublayer in
            sum
                + (gradients[sublayer] ?? []).withUnsafeBufferPointer { values in
                    // Safe: read while borrowed.
                    values.baseAddress.map { Kernels.dot($0, $0, values.count) } ?? 0
                }
        }.squareRoot()
    }

    /// What is wrong, with the place in the data given: an error from a step's own batches counts their sequences.
    private func nonFiniteError(
        _ error: PruneError, _ state: TrainingState, _ sequences: [Int], step: Int
    ) throws(PruneError) -> PruneError {
        for sequence in sequences {
            do throws(PruneError) {
                _ = try pass.value(try pass.fixed(TokenBatch(data, sequence..<sequence + 1)), state.adapters)
            } catch { return Self.told(error, "training step \(step)") }
        }
        return Self.told(error, "training step \(step)")
    }

    private static func told(_ error: PruneError, _ place: String) -> PruneError {
        guard error.kind == .nonFinite else { return error }
        return PruneError(.nonFinite, "\(place): \(error.message), or lower the learning rate")
    }

    private func nonFiniteGradient(_ gradients: AdapterGradients, step: Int) -> PruneError {
        let places = gradients.keys.sorted().filter { !(gradients[$0] ?? []).allSatisfy(\.isFinite) }
        return PruneError(
            .nonFinite,
            "training step \(step): the gradient of \(places.map(sublayerName).joined(separator: ", ")) is not finite; lower the learning rate"
        )
    }
}
