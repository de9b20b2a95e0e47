// SPDX-License-Identifier: Apache-2.0
/// A pruned model with adapters in the places of what was removed: a model as any other.
///
/// Its sublayer u is the adapter that stands there; nothing, where the adapters' mask removes u and no adapter stands;
/// else the sublayer of the model underneath. Weights are shared with that model. A keep mask for this model speaks of
/// its own sublayers: what it removes is gone, adapters included.
///
/// Adapters for a model that has some already stand beside those: where their mask keeps an earlier one, it stays.
public final class RecoveredModel: Model {
    /// The model underneath, which has no adapters.
    public let base: any Model
    /// All, and the mask of the sublayers of `base` that are run.
    public let adapters: AdapterSet
    public let shape: ModelShape
    let scratch = BufferPool()

    /// Errors: `.argument` if the adapters are of another model.
    public init(_ base: any Model, _ adapters: AdapterSet) throws(PruneError) {
        try adapters.check(for: base)
        let earlier = base as? RecoveredModel
        let own = (earlier?.base ?? base)
        let all = earlier?.adapters.replaced(by: adapters) ?? adapters
        self.base = own
        self.adapters = all.under(mask: own.shape.present(in: all.mask))
        shape = own.shape.replacing(self.adapters)
    }

    public var compute: ComputeType { base.compute }
    public var rereadsWeights: Bool { base.rereadsWeights }
    public var readsWeights: Bool { base.readsWeights }
    public func weightSample() throws(PruneError) -> [Float] { try base.weightSample() }

    public func start(_ batch: TokenBatch) throws(PruneError) -> any HiddenState { try base.start(batch) }

    public func apply(_ sublayer: Int, to states: [any HiddenState]) throws(PruneError) -> [any HiddenState] {
        if adapters.mask.keeps(sublayer) { return try base.apply(sublayer, to: states) }
        guard let adapter = adapters.adapters[sublayer] else {
            guard let rest = removed(sublayer) else { return states }
            return try states.map { state throws(PruneError) in try rest.apply(state) }
        }
        return try states.map { state throws(PruneError) in
            try base.apply(adapter, inPlaceOf: sublayer, to: state, scratch)
        }
    }

    public func losses(
        _ state: any HiddenState, at rows: [Int], of tokens: [Int32]
    ) throws(PruneError) -> [Float] {
        try base.losses(state, at: rows, of: tokens)
    }

    public func losses(_ requests: [LossRequest]) throws(PruneError) -> [[Float]] { try base.losses(requests) }

    public func distances(
        _ state: any HiddenState, to reference: any HiddenState, _ kind: LogitDistance, at rows: [Int]
    ) throws(PruneError) -> [Float] {
        try base.distances(state, to: reference, kind, at: rows)
    }

    public func logits(
        _ state: any HiddenState, at rows: Range<Int>, into out: inout MutableSpan<Float>
    ) throws(PruneError) {
        try base.logits(state, at: rows, into: &out)
    }

    public func read<Result>(
        _ state: any HiddenState, _ body: (Span<Float>) throws(PruneError) -> Result
    ) throws(PruneError) -> Result {
        try base.read(state, body)
    }

    public var runsSublayers: Bool { base.runsSublayers }
    public var readsStates: Bool { base.readsStates }

    public func compare(
        _ before: any HiddenState, _ after: any HiddenState, at rows: [Int]
    ) throws(PruneError) -> [StateComparison]? {
        try base.compare(before, after, at: rows)
    }

    public func write(
        like state: any HiddenState, _ body: (inout MutableSpan<Float>) throws(PruneError) -> Void
    ) throws(PruneError) -> any HiddenState {
        try base.write(like: state, body)
    }

    public func apply(
        _ adapter: Adapter, inPlaceOf sublayer: Int, to state: any HiddenState, _ scratch: BufferPool
    ) throws(PruneError) -> any HiddenState {
        try base.apply(adapter, inPlaceOf: sublayer, to: state, scratch)
    }

    public func removed(_ sublayer: Int) -> (any RemovedSublayer)? { base.removed(sublayer) }
    public var givesNorms: Bool { base.givesNorms }

    public func norm(ofSublayer sublayer: Int) throws(PruneError) -> InputNorm? {
        adapters.mask.keeps(sublayer) ? try base.norm(ofSublayer: sublayer) : adapters.adapters[sublayer]?.norm
    }

    public func neuronCount(ofSublayer sublayer: Int) throws(PruneError) -> Int {
        adapters.mask.keeps(sublayer) ? try base.neuronCount(ofSublayer: sublayer) : 0
    }

    public func neuronReach(ofSublayer sublayer: Int) throws(PruneError) -> [Double] {
        adapters.mask.keeps(sublayer) ? try base.neuronReach(ofSublayer: sublayer) : []
    }

    public func apply(
        _ sublayer: Int, to states: [any HiddenState], neurons: @escaping NeuronReader
    ) throws(PruneError) -> [any HiddenState] {
        adapters.mask.keeps(sublayer)
            ? try base.apply(sublayer, to: states, neurons: neurons) : try apply(sublayer, to: states)
    }

    public var hasGradients: Bool { base.hasGradients }
    public var noGradients: PruneError { base.noGradients }

    public func pullback(
        _ sublayer: Int, at states: [any HiddenState], of gradients: [any HiddenState]
    ) throws(PruneError) -> [any HiddenState] {
        if adapters.mask.keeps(sublayer) { return try base.pullback(sublayer, at: states, of: gradients) }
        guard let adapter = adapters.adapters[sublayer] else {
            return try pullbackOfNothing(sublayer, at: states, of: gradients)
        }
        try Memory.require(8 * adapter.parameters.count, for: "the gradient of an adapter", "use a lower rank")
        var unused = [Float](repeating: 0, count: adapter.parameters.count)
        return try zip(states, gradients).map { state, gradient throws(PruneError) in
            try base.pullback(adapter, at: state, of: gradient, addingTo: &unused, scratch)
        }
    }

    public func headPullback(
        _ state: any HiddenState, _ objective: HeadObjective, at rows: [Int], weights: [Float]
    ) throws(PruneError) -> (losses: [Float], gradient: any HiddenState) {
        try base.headPullback(state, objective, at: rows, weights: weights)
    }

    public func weightGradients(ofSublayer sublayer: Int) throws(PruneError) -> WeightGradients {
        if adapters.mask.keeps(sublayer) { return try base.weightGradients(ofSublayer: sublayer) }
        return try WeightGradients(counts: adapters.adapters[sublayer].map { [$0.parameters.count] } ?? [])
    }

    public func pullback(
        _ sublayer: Int, at states: [any HiddenState], of gradients: [any HiddenState], addingTo sums: WeightGradients
    ) throws(PruneError) -> [any HiddenState] {
        if adapters.mask.keeps(sublayer) {
            return try base.pullback(sublayer, at: states, of: gradients, addingTo: sums)
        }
        guard let adapter = adapters.adapters[sublayer] else {
            return try pullbackOfNothing(sublayer, at: states, of: gradients)
        }
        guard let sum = sums.matrices.first, sum.count == adapter.parameters.count else {
            throw PruneError(
                .internal, "gradients of another sublayer's weights were given for \(sublayerName(sublayer))")
        }
        try Memory.require(8 * sum.count, for: "the gradient of an adapter", "use a lower rank")
        var total = [Float](UnsafeBufferPointer(start: sum.pointer, count: sum.count))
        let before = try zip(states, gradients).map { state, gradient throws(PruneError) in
            try base.pullback(adapter, at: state, of: gradient, addingTo: &total, scratch)
        }
        sum.pointer.update(from: total, count: sum.count)
        return before
    }

    /// Back through a place where nothing stands but the norm of the sum, if there is one.
    private func pullbackOfNothing(
        _ sublayer: Int, at states: [any HiddenState], of gradients: [any HiddenState]
    ) throws(PruneError) -> [any HiddenState] {
        guard let rest = removed(sublayer) else { return gradients }
        return try zip(states, gradients).map { state, gradient throws(PruneError) in
            try rest.pullback(at: state, of: gradient)
        }
    }

    public func taylor(ofSublayer sublayer: Int, _ gradients: WeightGradients) throws(PruneError) -> Double {
        if adapters.mask.keeps(sublayer) { return try base.taylor(ofSublayer: sublayer, gradients) }
        guard let adapter = adapters.adapters[sublayer], let sum = gradients.matrices.first,
            sum.count == adapter.parameters.count
        else { return 0 }
        let matrices = adapter.width..<sum.count
        return matrices.reduce(0.0) { $0 + abs(Double(adapter.parameters[$1]) * Double(sum.pointer[$1])) }
    }

    public func magnitude(ofSublayer sublayer: Int) throws(PruneError) -> Double? {
        if adapters.mask.keeps(sublayer) { return try base.magnitude(ofSublayer: sublayer) }
        guard let adapter = adapters.adapters[sublayer] else { return 0 }
        return adapter.parameters[adapter.width...].reduce(0.0) { $0 + Double(abs($1)) }
    }
}

extension RecoveredModel: TextModel {
    var textWriter: TextWriter? {
        (base as? NativeModel).map { TextWriter(engine: $0, adapters: adapters.adapters, engineMask: adapters.mask) }
    }
}

extension AdapterSet {
    /// Relative difference of a weight that storing it in bf16 makes, with room to spare.
    private static let sampleTolerance: Float = 1 / 64

    /// Checks that the adapters fit a model. Errors: `.argument`, with what differs.
    func check(for model: any Model) throws(PruneError) {
        let shape = model.shape
        guard mask.blockCount == shape.blockCount, hiddenSize == shape.hiddenSize else {
            throw PruneError(
                .argument,
                "the adapters are for a model of \(mask.blockCount) blocks and hidden size \(hiddenSize); this one has \(shape.blockCount) and \(shape.hiddenSize)"
            )
        }
        let sample = try model.weightSample()
        guard !sample.isEmpty, !weightSample.isEmpty else { return }
        let isSame =
            sample.count == weightSample.count
            && zip(sample, weightSample).allSatisfy {
                abs($0 - $1) <= Self.sampleTolerance * max(abs($0), abs($1)) || $0 == $1
            }
        guard isSame else {
            throw PruneError(
                .argument, "the adapters were made for a model of this shape with other weights; make new ones")
        }
    }
}

extension ModelShape {
    /// The shape with adapters in place: what an adapter's sublayer, or an empty one, has and costs.
    func replacing(_ adapters: AdapterSet) -> ModelShape {
        let sublayers = sublayers.enumerated().map { sublayer, own in
            if adapters.mask.keeps(sublayer) { return own }
            let count = adapters.adapters[sublayer].map { $0.parameters.count + ($0.norm?.gain.count ?? 0) } ?? 0
            return SublayerCost(
                parameters: count, parameterBytes: 4 * count, keyValueBytes: 0, window: own.window)
        }
        var shape = self
        shape.sublayers = sublayers
        shape.absent = Set(adapters.mask.removed.filter { adapters.adapters[$0] == nil })
        return shape
    }
}

/// The adapters of a model that a mask keeps; none, if it has none. Their mask is that of the sublayers underneath.
public func adapters(of model: any Model, keptBy mask: KeepMask) throws(PruneError) -> AdapterSet {
    let mask = model.shape.present(in: mask)
    if let recovered = model as? RecoveredModel { return recovered.adapters.kept(by: mask) }
    return AdapterSet(
        mask: mask, adapters: [:], weightSample: try model.weightSample(), hiddenSize: model.shape.hiddenSize)
}

/// What each sublayer of a model computes and where its weights are stored, as JSON: see `PlanDocument`. nil if a host runs
/// it.
public func planText(of model: any Model) -> String? {
    let own = (model as? RecoveredModel)?.base ?? model
    return (own as? NativeModel).map { PlanDocument.text(of: $0.config) }
}

/// The text of config.json that a model was opened with, or of what stands for it. nil if it was not opened from a path.
public func configurationText(of model: any Model) -> String? {
    let own = (model as? RecoveredModel)?.base ?? model
    return (own as? NativeModel)?.source.map { String(decoding: $0.configuration, as: UTF8.self) }
}
