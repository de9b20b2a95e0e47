// SPDX-License-Identifier: Apache-2.0
/// Trains deltas, and nothing else, by AdamW: the bases stand still, and so does all that is not shared.
///
/// Sublayers are replaced progressively: in each step, each computes with its delta by chance, which rises to certainty, else
/// as the full model does; one at least computes with its delta.
struct SharedTraining {
    private let data: TokenData
    private let heldOut: [TokenBatch]
    private let sharing: SharingOptions
    private let options: TrainingOptions
    private let adapters: AdapterOptions
    private let deltas: [String: SharedTensor]
    /// What the weights with deltas lie in, written anew after each step.
    private let memories: [String: TensorMemory]
    private let pass: SharedGradientPass
    private let schedule: TrainingSchedule
    private let optimiser: AdamW
    private var batches: TrainingBatches
    private let fingerprint: UInt64
    private let progress: ProgressMeter.Listener?
    private let began = ProgressMeter.now()

    /// A width for which the usual rate holds, and that rate: measured with hidden states of 128.
    private static let usualRate = (width: 128, rate: 1e-3)
    /// The random stream of step s is this one and s. Those below are for the split and the epochs.
    private static let firstStream: UInt64 = 1 << 48

    init(
        _ model: NativeModel, _ tensors: [SharedTensor], _ data: TokenData, heldOut: TokenData,
        _ sharing: SharingOptions, _ adapters: AdapterOptions, _ options: TrainingOptions, fingerprint: UInt64,
        progress: ProgressMeter.Listener?
    ) throws(PruneError) {
        self.data = data
        self.heldOut = heldOut.batches(of: adapters.batchTokens)
        try checkPredicts(self.heldOut)
        self.sharing = sharing
        self.options = options
        self.adapters = adapters
        self.fingerprint = fingerprint
        self.progress = progress
        deltas = Dictionary(uniqueKeysWithValues: tensors.map { ($0.projection.tensor, $0) })
        var memories: [String: TensorMemory] = [:]
        var own: [StoredTensor] = []
        for (name, tensor) in deltas {
            let base = try model.tensors.tensor(tensor.base, shape: tensor.projection.shape)
            let memory = try tensor.materialised(from: base)
            memories[name] = memory
            own.append(memory.tensor(name, .float32, shape: tensor.projection.shape))
        }
        self.memories = memories
        pass = SharedGradientPass(
            model, try model.replacing(own), Set(tensors.map(\.sublayer)).sorted(), options.objective)
        var rated = options
        if options.learningRate == nil {
            let width = model.shape.hiddenSize
            rated.learningRate =
                Self.usualRate.rate * Double(Self.usualRate.width) / Double(max(Self.usualRate.width, width))
        }
        schedule = TrainingSchedule(rated, kind: .lowRank, width: model.shape.hiddenSize)
        optimiser = AdamW(weightDecay: options.weightDecay)
        let sequences = data.predictingSequences
        guard !sequences.isEmpty else {
            throw PruneError(
                .data,
                "nothing to predict: every sequence has one token, or every token weight is 0; give longer sequences")
        }
        batches = TrainingBatches(data, sequences, stepTokens: options.stepTokens, seed: adapters.seed)
    }

    /// Trains on from a state to the end, or until no look is better any more.
    ///
    /// - Parameter listener: told after every step; returns true to stop.
    /// Errors: `.nonFinite`, naming step and layer; `.cancelled`; `.file`. The last good checkpoint stays.
    mutating func run(_ state: inout SharedTrainingState, listener: ((TrainingProgress) -> Bool)?) throws(PruneError) {
        let begin = ProgressMeter.now()
        let (secondsBefore, tokensBefore) = (state.report.seconds, state.report.trainedTokens)
        for name in state.names { try write(name, state) }
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

    private func isDone(_ state: SharedTrainingState) -> Bool {
        state.report.steps >= options.steps || options.patience.map { state.looksSinceBest >= $0 } ?? false
    }

    private func save(_ state: SharedTrainingState) throws(PruneError) {
        guard let path = options.checkpoint else { return }
        try state.write(fingerprint, to: path)
    }

    /// Puts a delta into the weight that the shared model computes with.
    private func write(_ name: String, _ state: SharedTrainingState) throws(PruneError) {
        guard let tensor = deltas[name], let memory = memories[name], let delta = state.deltas[name] else { return }
        let base = try pass.full.tensors.tensor(tensor.base, shape: tensor.projection.shape)
        let (up, down) = tensor.split(delta.parameters)
        try tensor.write(into: memory, base, (up, down))
    }

    private func heldOutLoss(_ state: SharedTrainingState) throws(PruneError) -> Double {
        let stage = "held-out data after step \(state.report.steps)"
        let meter = meter(stage, steps: heldOut.count * pass.stepsPerBatch)
        do throws(PruneError) {
            var total = ObjectiveSum()
            for batch in heldOut { total += try pass.value(batch, meter) }
            return total.mean
        } catch { throw Self.told(error, stage) }
    }

    /// What counts the sublayers of a step or a look; nil if nobody listens.
    private func meter(_ stage: @autoclosure () -> String, steps: @autoclosure () -> Int) -> ProgressMeter? {
        guard let progress else { return nil }
        let before = ProgressMeter.now() - began
        return ProgressMeter(stage: stage(), total: steps()) { progress($0.later(by: before)) }
    }

    /// One step; gives its learning rate. The state is changed only if it succeeds.
    private mutating func step(_ state: inout SharedTrainingState) throws(PruneError) -> Double {
        let number = state.report.steps + 1
        var sequencesUsed = state.sequencesUsed
        let sequences = batches.next(after: &sequencesUsed)
        let (gradients, value) = try gradients(state, sequences, replaced(atStep: number), step: number)
        let scale = 1 / value.weight
        // In a fixed order: sums of doubles depend on it.
        let norm = scale * gradients.keys.sorted().reduce(0.0) { $0 + Self.squares(gradients[$1] ?? []) }.squareRoot()
        guard norm.isFinite else {
            let names = gradients.keys.sorted().filter { !(gradients[$0] ?? []).allSatisfy(\.isFinite) }
            throw PruneError(
                .nonFinite,
                "training step \(number): the gradient of \(names.joined(separator: ", ")) is not finite; lower the learning rate"
            )
        }
        let clip = options.clipNorm.map { norm > $0 ? $0 / norm : 1 } ?? 1
        let rate = schedule.learningRate(atStep: number)
        for (name, gradient) in gradients {
            // Taken out for the while, so that nothing is copied.
            guard var delta = state.deltas.removeValue(forKey: name) else { continue }
            delta.moves += 1
            optimiser.move(
                &delta.parameters, decayed: 0..<delta.parameters.count, &delta.moments, by: gradient,
                times: scale * clip, learningRate: rate, step: delta.moves)
            state.deltas[name] = delta
            try write(name, state)
        }
        state.sequencesUsed = sequencesUsed
        state.report.steps = number
        state.report.trainedTokens += sequences.reduce(0) { $0 + data.offsets[$1 + 1] - data.offsets[$1] }
        state.lastLoss = value.mean
        state.lossSinceLook += value.mean
        state.stepsSinceLook += 1
        return rate
    }

    /// The sublayers that compute with their deltas in a step.
    private func replaced(atStep step: Int) -> Set<Int> {
        let probability = sharing.probability(atStep: step, of: options.steps)
        var random = RandomSource(seed: adapters.seed, stream: Self.firstStream + UInt64(step))
        let drawn = pass.places.filter { _ in random.unit() < probability }
        if !drawn.isEmpty { return Set(drawn) }
        return [pass.places[Int(random.unit() * Double(pass.places.count))]]
    }

    /// The gradients of the objective's sum over some sequences, by name of the weight.
    private func gradients(
        _ state: SharedTrainingState, _ sequences: [Int], _ used: Set<Int>, step: Int
    ) throws(PruneError) -> (gradients: [String: [Float]], value: ObjectiveSum) {
        var sums: [Int: WeightGradients] = [:]
        for sublayer in used { sums[sublayer] = try pass.shared.weightGradients(ofSublayer: sublayer) }
        var total = ObjectiveSum()
        do throws(PruneError) {
            let batches = try data.selecting(sequences).batches(of: adapters.batchTokens)
            let meter = meter("training step \(step)", steps: batches.count * pass.stepsPerBatch)
            for batch in batches { total += try pass.addGradients(batch, used, to: sums, meter) }
        } catch { throw Self.told(error, "training step \(step)") }
        var gradients: [String: [Float]] = [:]
        for (name, tensor) in deltas where used.contains(tensor.sublayer) && tensor.rank > 0 {
            guard let sum = sums[tensor.sublayer], let delta = state.deltas[name] else { continue }
            let plans = pass.full.config.sublayers[tensor.sublayer].namedProjections.map(\.plan)
            gradients[name] = try tensor.gradient(at: delta.parameters, sum, plans)
        }
        return (gradients, total)
    }

    private static func squares(_ values: [Float]) -> Double {
        values.withUnsafeBufferPointer { values in
            // Safe: read while borrowed.
            values.baseAddress.map { Kernels.dot($0, $0, values.count) } ?? 0
        }
    }

    private static func told(_ error: PruneError, _ place: String) -> PruneError {
        guard error.kind == .nonFinite else { return error }
        return PruneError(.nonFinite, "\(place): \(error.message), or lower the learning rate")
    }
}

extension SharedTensor {
    /// U and V of parameters that hold one after the other.
    func split(_ parameters: [Float]) -> (up: [Float], down: [Float]) {
        let end = parameters.count / (projection.outputs + projection.inputs) * projection.outputs
        return (Array(parameters[..<end]), Array(parameters[end...]))
    }
}
