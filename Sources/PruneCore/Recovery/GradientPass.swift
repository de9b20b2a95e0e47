// SPDX-License-Identifier: Apache-2.0
/// Gradients of adapters, by sublayer, laid out as `Adapter.parameters`.
typealias AdapterGradients = [Int: [Float]]

/// The way of a batch through a model with adapters in the places of what a mask removes, and back.
///
/// What the full model and this one have in common, the sublayers before the first that is removed, is computed once.
struct GradientPass {
    let model: any Model
    let mask: KeepMask
    let objective: RecoveryObjective
    /// Told of every sublayer, forward or back; nil = nobody listens.
    var meter: ProgressMeter?
    private let full: KeepMask
    private let firstRemoved: Int
    private let scratch = BufferPool()

    init(_ model: any Model, _ mask: KeepMask, _ objective: RecoveryObjective, meter: ProgressMeter? = nil) {
        self.model = model
        self.mask = mask
        self.objective = objective
        self.meter = meter
        full = KeepMask(blocks: model.shape.blockCount)
        firstRemoved = mask.removed.first ?? model.shape.sublayerCount
    }

    /// The states that adapters do not change: before the first removed sublayer, and the full model's after the last one
    /// if the objective compares with it.
    struct Fixed {
        let shared: any HiddenState
        let reference: (any HiddenState)?
    }

    /// Errors: those of the model.
    func fixed(_ batch: TokenBatch) throws(PruneError) -> Fixed {
        let shared = try model.run(try model.start(batch), to: firstRemoved, under: full, visit: count)
        guard objective.needsReference else { return Fixed(shared: shared, reference: nil) }
        return Fixed(shared: shared, reference: try model.run(shared, from: firstRemoved, under: full, visit: count))
    }

    /// The objective of a batch. Errors: `.nonFinite`, naming the layer; those of the model.
    func value(_ fixed: Fixed, _ adapters: [Int: Adapter]) throws(PruneError) -> ObjectiveSum {
        var state = fixed.shared
        for sublayer in firstRemoved..<model.shape.sublayerCount {
            state = try apply(sublayer, adapters, to: state)
        }
        let value = try model.objective(objective, of: state, reference: fixed.reference)
        guard value.sum.isFinite else { throw try nonFiniteError(in: state.batch, fixed.reference, adapters) }
        return value
    }

    /// Adds the gradient of the objective's sum (not its mean) with respect to adapters to `sums`.
    ///
    /// - Parameters:
    ///   - lowest: the sublayer of the first adapter whose gradient is wanted.
    ///   - sums: an entry of the right length for every adapter.
    /// Errors: `.nonFinite`, naming the layer; those of the model.
    func addGradients(
        _ batch: TokenBatch, _ adapters: [Int: Adapter], downTo lowest: Int, to sums: inout AdapterGradients
    ) throws(PruneError) -> ObjectiveSum {
        var (value, gradient, states) = try forward(batch, adapters, keepingFrom: lowest)
        guard var gradient else { return value }
        while let (sublayer, state) = states.popLast() {
            guard let adapter = adapters[sublayer] else {
                gradient = try pullback(sublayer, at: state, of: gradient)
                continue
            }
            // Taken out for the while, so that the dictionary's value is not copied.
            var sum = sums.removeValue(forKey: sublayer) ?? Array(repeating: 0, count: adapter.parameters.count)
            if sublayer == lowest {
                try model.addParameterGradient(of: adapter, at: state, of: gradient, to: &sum, scratch)
            } else {
                gradient = try model.pullback(adapter, at: state, of: gradient, addingTo: &sum, scratch)
            }
            sums[sublayer] = sum
        }
        return value
    }

    /// The gradient of the objective's sum with respect to the state before `sublayer`, without adapters; nil if the batch
    /// has nothing to predict. Errors: as `addGradients`.
    func stateGradient(
        _ batch: TokenBatch, before sublayer: Int
    ) throws(PruneError) -> (value: ObjectiveSum, gradient: (any HiddenState)?) {
        var (value, gradient, states) = try forward(batch, [:], keepingFrom: sublayer)
        guard var gradient else { return (value, nil) }
        while let (sublayer, state) = states.popLast() { gradient = try pullback(sublayer, at: state, of: gradient) }
        return (value, gradient)
    }

    /// Sublayers and adapters applied to a batch on the way forward and back at most, for a meter.
    var stepsPerBatch: Int { (objective.needsReference ? 3 : 2) * model.shape.sublayerCount }

    /// The objective, its gradient at the end, and the states before each sublayer and adapter from `lowest` on: no others
    /// are alive any more.
    private func forward(
        _ batch: TokenBatch, _ adapters: [Int: Adapter], keepingFrom lowest: Int
    ) throws(PruneError) -> (
        value: ObjectiveSum, gradient: (any HiddenState)?, states: [(sublayer: Int, state: any HiddenState)]
    ) {
        var states: [(sublayer: Int, state: any HiddenState)] = []
        var (state, reference) = try start(batch, &states, keepingFrom: lowest)
        for sublayer in firstRemoved..<model.shape.sublayerCount where acts(sublayer, adapters) {
            if sublayer >= lowest { states.append((sublayer, state)) }
            state = try apply(sublayer, adapters, to: state)
        }
        let (value, gradient) = try model.objectivePullback(objective, of: state, reference: reference)
        guard value.sum.isFinite else { throw try nonFiniteError(in: batch, reference, adapters) }
        reference = nil
        return (value, gradient, states)
    }

    /// The states that adapters do not change, those before sublayers from `lowest` on kept.
    private func start(
        _ batch: TokenBatch, _ states: inout [(sublayer: Int, state: any HiddenState)], keepingFrom lowest: Int
    ) throws(PruneError) -> (shared: any HiddenState, reference: (any HiddenState)?) {
        if lowest >= firstRemoved {
            let fixed = try fixed(batch)
            return (fixed.shared, fixed.reference)
        }
        var kept: [(sublayer: Int, state: any HiddenState)] = []
        let start = try model.run(try model.start(batch), to: lowest, under: full, visit: count)
        let shared = try model.run(start, from: lowest, to: firstRemoved, under: full) {
            (sublayer, before, after) throws(PruneError) in
            kept.append((sublayer, before))
            try count(sublayer, before, after)
        }
        states = kept
        guard objective.needsReference else { return (shared, nil) }
        return (shared, try model.run(shared, from: firstRemoved, under: full, visit: count))
    }

    private func acts(_ sublayer: Int, _ adapters: [Int: Adapter]) -> Bool {
        mask.keeps(sublayer) || adapters[sublayer] != nil || model.removed(sublayer) != nil
    }

    private func apply(
        _ sublayer: Int, _ adapters: [Int: Adapter], to state: any HiddenState
    ) throws(PruneError) -> any HiddenState {
        if let adapter = adapters[sublayer] { return try model.apply(adapter, inPlaceOf: sublayer, to: state, scratch) }
        return try model.run(state, from: sublayer, to: sublayer + 1, under: mask, visit: count)
    }

    private func pullback(
        _ sublayer: Int, at state: any HiddenState, of gradient: any HiddenState
    ) throws(PruneError) -> any HiddenState {
        if !mask.keeps(sublayer), let rest = model.removed(sublayer) {
            return try rest.pullback(at: state, of: gradient)
        }
        guard let before = try model.pullback(sublayer, at: [state], of: [gradient]).first else {
            throw PruneError(.internal, "the model returned no gradient for \(sublayerName(sublayer))")
        }
        try meter?.advance()
        return before
    }

    private func count(_ sublayer: Int, _ before: any HiddenState, _ after: any HiddenState) throws(PruneError) {
        try meter?.advance()
    }

    /// Names the place where a batch's hidden state stops being finite, in the full model or in this one.
    private func nonFiniteError(
        in batch: TokenBatch, _ reference: (any HiddenState)?, _ adapters: [Int: Adapter]
    ) throws(PruneError) -> PruneError {
        if let reference {
            let isFinite = try model.read(reference) { values throws(PruneError) in
                values.indices.allSatisfy { values[$0].isFinite }
            }
            if !isFinite { return try model.nonFiniteError(in: batch, under: full) }
        }
        let recovered = try RecoveredModel(
            model, AdapterSet(mask: mask, adapters: adapters, weightSample: [], hiddenSize: model.shape.hiddenSize))
        return try recovered.nonFiniteError(in: batch, under: full)
    }
}
