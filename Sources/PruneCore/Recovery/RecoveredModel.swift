// SPDX-License-Identifier: Apache-2.0
/// A pruned model with adapters in the places of what was removed: a model as any other.
///
/// Its sublayer u is the adapter that stands there; nothing, where the adapters' mask removes u and no adapter stands;
/// else the sublayer of the model underneath. Weights are shared with that model. A keep mask for this model speaks of
/// its own sublayers: what it removes is gone, adapters included.
public final class RecoveredModel: Model {
    public let base: any Model
    public let adapters: AdapterSet
    public let shape: ModelShape
    let scratch = BufferPool()

    /// Errors: `.argument` if the adapters are of another model.
    public init(_ base: any Model, _ adapters: AdapterSet) throws(PruneError) {
        try adapters.check(for: base)
        self.base = base
        self.adapters = adapters
        shape = base.shape.replacing(adapters)
    }

    public var compute: ComputeType { base.compute }
    public var rereadsWeights: Bool { base.rereadsWeights }
    public var readsWeights: Bool { base.readsWeights }
    public func weightSample() throws(PruneError) -> [Float] { try base.weightSample() }

    public func start(_ batch: TokenBatch) throws(PruneError) -> any HiddenState { try base.start(batch) }

    public func apply(_ sublayer: Int, to states: [any HiddenState]) throws(PruneError) -> [any HiddenState] {
        if adapters.mask.keeps(sublayer) { return try base.apply(sublayer, to: states) }
        guard let adapter = adapters.adapters[sublayer] else { return states }
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

    public var hasGradients: Bool { base.hasGradients }
    public var noGradients: PruneError { base.noGradients }

    public func pullback(
        _ sublayer: Int, at states: [any HiddenState], of gradients: [any HiddenState]
    ) throws(PruneError) -> [any HiddenState] {
        if adapters.mask.keeps(sublayer) { return try base.pullback(sublayer, at: states, of: gradients) }
        guard let adapter = adapters.adapters[sublayer] else { return gradients }
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
        guard let adapter = adapters.adapters[sublayer] else { return gradients }
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

extension Model {
    public func apply(
        _ adapter: Adapter, inPlaceOf sublayer: Int, to state: any HiddenState, _ scratch: BufferPool
    ) throws(PruneError) -> any HiddenState {
        try compute(adapter, on: state, scratch)
    }

    /// The state after an adapter, computed here from its values. Errors: `.memory`; what reading and writing states throws.
    func compute(
        _ adapter: Adapter, on state: any HiddenState, _ scratch: BufferPool
    ) throws(PruneError) -> any HiddenState {
        let rows = state.batch.rowCount
        return try read(state) { values throws(PruneError) in
            try write(like: state) { out throws(PruneError) in
                var failure: PruneError?
                values.withUnsafeBufferPointer { values in
                    out.withUnsafeMutableBufferPointer { out in
                        guard let h = values.baseAddress, let place = out.baseAddress else { return }
                        do throws(PruneError) {
                            try AdapterLayer(adapter, scratch).apply(h, rows: rows, into: place)
                        } catch { failure = error }
                    }
                }
                if let failure { throw failure }
            }
        }
    }
}

extension Model {
    /// The gradient with respect to the state before an adapter, from that with respect to the state after it; adds that
    /// of its parameters to `sum`.
    func pullback(
        _ adapter: Adapter, at state: any HiddenState, of gradient: any HiddenState, addingTo sum: inout [Float],
        _ scratch: BufferPool
    ) throws(PruneError) -> any HiddenState {
        let rows = state.batch.rowCount
        var total = sum
        let before = try read(state) { values throws(PruneError) in
            try read(gradient) { slopes throws(PruneError) in
                try write(like: gradient) { out throws(PruneError) in
                    var failure: PruneError?
                    values.withUnsafeBufferPointer { values in
                        slopes.withUnsafeBufferPointer { slopes in
                            out.withUnsafeMutableBufferPointer { out in
                                guard let h = values.baseAddress, let slope = slopes.baseAddress else { return }
                                do throws(PruneError) {
                                    try AdapterLayer(adapter, scratch).pullback(
                                        at: h, of: slope, rows: rows, addingTo: &total, into: out.baseAddress)
                                } catch { failure = error }
                            }
                        }
                    }
                    if let failure { throw failure }
                }
            }
        }
        sum = total
        return before
    }

    /// Adds the gradient of an adapter's parameters to `sum`, for an adapter that nothing with parameters stands before.
    func addParameterGradient(
        of adapter: Adapter, at state: any HiddenState, of gradient: any HiddenState, to sum: inout [Float],
        _ scratch: BufferPool
    ) throws(PruneError) {
        let rows = state.batch.rowCount
        var total = sum
        try read(state) { values throws(PruneError) in
            try read(gradient) { slopes throws(PruneError) in
                var failure: PruneError?
                values.withUnsafeBufferPointer { values in
                    slopes.withUnsafeBufferPointer { slopes in
                        guard let h = values.baseAddress, let slope = slopes.baseAddress else { return }
                        do throws(PruneError) {
                            try AdapterLayer(adapter, scratch).pullback(
                                at: h, of: slope, rows: rows, addingTo: &total, into: nil)
                        } catch { failure = error }
                    }
                }
                if let failure { throw failure }
            }
        }
        sum = total
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
        return shape
    }
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
