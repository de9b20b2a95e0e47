// SPDX-License-Identifier: Apache-2.0
/// The way of a batch through a model of which some sublayers compute with shared weights, and back.
struct SharedGradientPass {
    /// The full model, and the one whose sublayers of `places` compute with base and delta.
    let full: NativeModel
    let shared: NativeModel
    /// Sublayers that share, ascending; not empty.
    let places: [Int]
    let objective: RecoveryObjective
    /// What both models run.
    private let mask: KeepMask

    init(_ full: NativeModel, _ shared: NativeModel, _ places: [Int], _ objective: RecoveryObjective) {
        self.full = full
        self.shared = shared
        self.places = places
        self.objective = objective
        mask = full.shape.present
    }

    /// Sublayers applied to a batch on the way forward and back at most, for a meter.
    var stepsPerBatch: Int { (objective.needsReference ? 3 : 2) * full.shape.sublayerCount }

    private func model(_ sublayer: Int, _ used: Set<Int>) -> NativeModel { used.contains(sublayer) ? shared : full }

    private func run(
        _ state: any HiddenState, _ range: Range<Int>, _ used: Set<Int>, _ meter: ProgressMeter?,
        visit: (Int, any HiddenState) -> Void = { _, _ in }
    ) throws(PruneError) -> any HiddenState {
        var state = state
        for sublayer in range {
            if mask.keeps(sublayer) { visit(sublayer, state) }
            state = try model(sublayer, used).run(state, from: sublayer, to: sublayer + 1, under: mask)
            try meter?.advance()
        }
        return state
    }

    /// The states that deltas do not change: before the first sublayer that shares, and the full model's at the end.
    private func start(
        _ batch: TokenBatch, _ meter: ProgressMeter?
    ) throws(PruneError) -> (state: any HiddenState, reference: (any HiddenState)?) {
        let state = try run(try full.start(batch), 0..<places[0], [], meter)
        guard objective.needsReference else { return (state, nil) }
        return (state, try run(state, places[0]..<full.shape.sublayerCount, [], meter))
    }

    /// The objective of a batch with all deltas in place. Errors: `.nonFinite`, naming the layer; those of the model.
    func value(_ batch: TokenBatch, _ meter: ProgressMeter?) throws(PruneError) -> ObjectiveSum {
        let (start, reference) = try start(batch, meter)
        let last = try run(start, places[0]..<full.shape.sublayerCount, Set(places), meter)
        let value = try full.objective(objective, of: last, reference: reference)
        guard value.sum.isFinite else { throw try shared.nonFiniteError(in: batch, under: mask) }
        return value
    }

    /// Adds the gradients of the objective's sum (not its mean) with respect to the weights of the sublayers in `used`.
    ///
    /// - Parameters:
    ///   - used: those that compute with their deltas; not empty.
    ///   - sums: an entry for each of them.
    /// Errors: as above.
    func addGradients(
        _ batch: TokenBatch, _ used: Set<Int>, to sums: [Int: WeightGradients], _ meter: ProgressMeter?
    ) throws(PruneError) -> ObjectiveSum {
        let (start, reference) = try start(batch, meter)
        let lowest = used.min() ?? 0
        var states: [(sublayer: Int, state: any HiddenState)] = []
        let last = try run(start, places[0]..<full.shape.sublayerCount, used, meter) { sublayer, state in
            if sublayer >= lowest { states.append((sublayer, state)) }
        }
        let (value, slope) = try full.objectivePullback(objective, of: last, reference: reference)
        guard value.sum.isFinite else { throw try shared.nonFiniteError(in: batch, under: mask) }
        guard let slope else { return value }
        var gradients = [slope]
        // Each state is released as soon as the gradient has passed it.
        while let (sublayer, state) = states.popLast() {
            if let sum = sums[sublayer] {
                gradients = try shared.pullback(sublayer, at: [state], of: gradients, addingTo: sum)
            } else {
                gradients = try full.pullback(sublayer, at: [state], of: gradients)
            }
            try meter?.advance()
        }
        return value
    }
}
