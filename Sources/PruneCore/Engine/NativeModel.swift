// SPDX-License-Identifier: Apache-2.0
/// Our own engine: a model whose weights lie in this process's memory.
///
///     h = embedding[token]
///     h = h + attention(norm(h))        sublayer 2i
///     h = h + feedForward(norm(h))      sublayer 2i + 1
///     logits = head * finalNorm(h)
///
/// What families add to this stands in the `SublayerPlan` of each sublayer, the `EmbeddingPlan` and the `HeadPlan`. Weights
/// stay in their stored type. Results do not depend on the thread count or on what is computed beside them.
public final class NativeModel: Model {
    public let shape: ModelShape
    /// What matrix products multiply in.
    public let compute: ComputeType
    /// Whether the weights may not stay in memory: then each sublayer's are asked for while the one before it is computed.
    let streamsWeights: Bool
    let config: ModelConfig
    /// What the weights were found in.
    let tensors: TensorTable
    let weights: NativeWeights
    /// Which of the weights are stored as deltas of others.
    let sharing: SharedWeights
    /// The directory it was opened from; nil for weights that a host holds.
    let source: CheckpointSource?
    /// What was done to its weights since.
    let edits: [Edit]
    let scratch = BufferPool()

    /// Opens a Hugging Face directory, without the adapters that may be in it: see `openModel`. Errors: as
    /// `prune_model_open`.
    ///
    /// - Parameters:
    ///   - compute: nil = what `ComputeType.preferred` says.
    ///   - residence: where the weights are.
    public convenience init(
        directory: String, compute: ComputeType? = nil, _ residence: FileResidence = .mapped
    ) throws(PruneError) {
        try self.init(try Checkpoint.open(directory: directory, residence), compute: compute)
    }

    /// The sublayers that a checkpoint has, without its adapters. Errors: as below.
    convenience init(_ checkpoint: Checkpoint, compute: ComputeType?) throws(PruneError) {
        let (tensors, sharing) = try SharedWeights.opened(checkpoint.config, checkpoint.tensors)
        try self.init(checkpoint.config, tensors, source: checkpoint.source, compute: compute, sharing: sharing)
    }

    /// A model over tensors that live elsewhere; `tensors` keeps them alive.
    ///
    /// Errors: those of the weights; `.unsupported` for a compute type that this CPU lacks; `.argument` if `compute` is
    /// nil and the environment names no type; those of `Kernels.checkEnvironment`.
    init(
        _ config: ModelConfig, _ tensors: TensorTable, source: CheckpointSource? = nil, edits: [Edit] = [],
        compute: ComputeType? = nil, sharing: SharedWeights = .none
    ) throws(PruneError) {
        try Kernels.checkEnvironment()
        if let compute, !compute.isSupported {
            throw PruneError(.unsupported, "this CPU has no instructions for \(compute) products; compute in float32")
        }
        self.config = config
        self.tensors = tensors
        self.source = source
        self.edits = edits
        weights = try NativeWeights(config, tensors)
        self.sharing = sharing
        shape = weights.shape(config, sharing)
        self.compute = if let compute { compute } else { try ComputeType.preferred(for: shape.elementType) }
        streamsWeights = weights.areMapped && shape.parameterBytes > Memory.limit / 2
    }

    public func start(_ batch: TokenBatch) throws(PruneError) -> any HiddenState {
        try start(batch, at: Array(repeating: 0, count: batch.sequences.count))
    }

    /// - Parameter starts: the position of each sequence's first token.
    func start(_ batch: TokenBatch, at starts: [Int]) throws(PruneError) -> NativeState {
        try batch.check(vocabulary: config.vocabularySize)
        try checkPositions(batch, starts)
        try Memory.require(128 * batch.rowCount, for: "\(batch.rowCount) tokens", "use fewer tokens per batch")
        let width = config.embedding.width
        let rows = try scratch.buffer(batch.rowCount * width)
        let tokens = batch.data.tokens[batch.tokens]
        return try reading(weights.files.embedding) { () throws(PruneError) in
            for (row, token) in tokens.enumerated() {
                weights.embedding.widen(first: Int(token), count: 1, into: rows.pointer + row * width)
            }
            let scale = config.embedding.scale
            if scale != 1 { for index in 0..<rows.count { rows.pointer[index] *= scale } }
            let values = try weights.embeddingProjection.map { own throws(PruneError) in
                try BLAS.products(in: compute) { () throws(PruneError) in
                    try project([own], of: rows, runs: [batch.rowCount])[0]
                }
            }
            let state = NativeState(batch, values ?? rows, before: 0)
            try addPositions(to: state, starts)
            return state
        }
    }

    /// Errors: `.data` if a sequence is longer than the table of learned positions.
    private func checkPositions(_ batch: TokenBatch, _ starts: [Int]) throws(PruneError) {
        guard let positions = config.embedding.positions else { return }
        let most = positions.rows - positions.offset
        for (sequence, start) in zip(batch.sequences, starts) {
            let length = start + batch.rows(ofSequence: sequence).count
            guard length <= most else {
                throw PruneError(
                    .data,
                    "sequence \(sequence) has \(length) tokens; this model has learned positions for \(most): cut it")
            }
        }
    }

    private func addPositions(to state: NativeState, _ starts: [Int]) throws(PruneError) {
        guard let positions = weights.positions, let plan = config.embedding.positions else { return }
        let width = config.hiddenSize
        let row = try scratch.buffer(width)
        for (sequence, start) in zip(state.batch.sequences, starts) {
            for (index, place) in state.batch.rows(ofSequence: sequence).enumerated() {
                positions.widen(first: plan.offset + start + index, count: 1, into: row.pointer)
                Kernels.add(row.pointer, to: state.values.pointer + place * width, width)
            }
        }
    }

    public func apply(_ sublayer: Int, to states: [any HiddenState]) throws(PruneError) -> [any HiddenState] {
        try apply(sublayer, to: states, SublayerContext())
    }

    func apply(
        _ sublayer: Int, to states: [any HiddenState], _ context: SublayerContext
    ) throws(PruneError) -> [any HiddenState] {
        if weights.sublayers[sublayer].isAbsent {
            return try states.map { state throws(PruneError) in try settled(native(state), before: sublayer + 1) }
        }
        let before = try states.map { state throws(PruneError) in try settled(native(state), before: sublayer) }
        let after = try before.map { state throws(PruneError) in try successor(of: state, after: sublayer) }
        askAhead(for: sublayer + 1)
        for group in consecutiveGroups(ofRows: before.map(\.batch.rowCount), atMost: RowLimit.call) {
            try readingSublayer(sublayer) { () throws(PruneError) in
                try BLAS.products(in: compute) { () throws(PruneError) in
                    let (before, after) = (Array(before[group]), Array(after[group]))
                    switch compute {
                    case .float32: try apply(sublayer, before, after, with: Float32Products(self), context)
                    case .bfloat16: try apply(sublayer, before, after, with: BFloat16Products(self), context)
                    }
                }
            }
        }
        return after
    }

    public func read<Result>(
        _ state: any HiddenState, _ body: (Span<Float>) throws(PruneError) -> Result
    ) throws(PruneError) -> Result {
        let state = try native(state)
        // Safe: the state owns the values, and outlives the call.
        return try withExtendedLifetime(state) { () throws(PruneError) in
            try body(UnsafeBufferPointer(start: state.values.pointer, count: state.values.count).span)
        }
    }

    public func write(
        like state: any HiddenState, _ body: (inout MutableSpan<Float>) throws(PruneError) -> Void
    ) throws(PruneError) -> any HiddenState {
        let values = try scratch.buffer(state.batch.rowCount * config.hiddenSize)
        // Safe: nobody else has the buffer yet.
        var span = UnsafeMutableBufferPointer(start: values.pointer, count: values.count).mutableSpan
        try body(&span)
        return NativeState(state.batch, values, before: try native(state).place)
    }

    public func norm(ofSublayer sublayer: Int) throws(PruneError) -> InputNorm? {
        guard let norm = weights.sublayers[sublayer].before else { return nil }
        let prepared = try readingSublayer(sublayer) { () throws(PruneError) in try norm.prepared(scratch) }
        func values(_ buffer: FloatBuffer) -> [Float] {
            Array(UnsafeBufferPointer(start: buffer.pointer, count: buffer.count))
        }
        return InputNorm(
            prepared.kind, gain: values(prepared.gain), bias: norm.bias == nil ? nil : prepared.bias.map(values),
            epsilon: prepared.epsilon)
    }

    public var givesNorms: Bool { true }

    public func removed(_ sublayer: Int) -> (any RemovedSublayer)? {
        weights.sublayers[sublayer].last == nil ? nil : RemainingNorm(model: self, sublayer: sublayer)
    }

    func native(_ state: any HiddenState) throws(PruneError) -> NativeState {
        guard let state = state as? NativeState, state.values.count == state.batch.rowCount * config.hiddenSize else {
            throw PruneError(.internal, "a hidden state of another model was given to this one")
        }
        return state
    }
}
