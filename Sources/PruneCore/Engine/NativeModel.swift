// SPDX-License-Identifier: Apache-2.0
/// Our own engine: a model whose weights lie in this process's memory.
///
///     h = embedding[token]
///     h = h + attention(norm(h))        sublayer 2i
///     h = h + feedForward(norm(h))      sublayer 2i + 1
///     logits = head * finalNorm(h)
///
/// Weights stay in their stored type. Results do not depend on the thread count or on what is computed beside them.
public final class NativeModel: Model {
    public let shape: ModelShape
    /// What matrix products multiply in.
    public let compute: ComputeType
    /// Whether the weights may not stay in memory: then each sublayer's are asked for while the one before it is computed.
    let streamsWeights: Bool
    let config: ModelConfig
    let weights: NativeWeights
    let rotary: RotaryTable
    /// The directory it was opened from; nil for weights that a host holds.
    let source: CheckpointSource?
    let scratch = BufferPool()

    /// Opens a Hugging Face directory. Errors: as `prune_model_open`.
    ///
    /// - Parameters:
    ///   - compute: nil = what `ComputeType.preferred` says.
    ///   - residence: where the weights are.
    public convenience init(
        directory: String, compute: ComputeType? = nil, _ residence: FileResidence = .mapped
    ) throws(PruneError) {
        let checkpoint = try Checkpoint.open(directory: directory, residence)
        try self.init(checkpoint.config, checkpoint.tensors, source: checkpoint.source, compute: compute)
    }

    /// A model over tensors that live elsewhere; `tensors` keeps them alive.
    ///
    /// Errors: those of the weights; `.unsupported` for a compute type that this CPU lacks; `.argument` if `compute` is
    /// nil and the environment names no type; those of `Kernels.checkEnvironment`.
    init(
        _ config: ModelConfig, _ tensors: TensorTable, source: CheckpointSource? = nil, compute: ComputeType? = nil
    ) throws(PruneError) {
        try Kernels.checkEnvironment()
        if let compute, !compute.isSupported {
            throw PruneError(.unsupported, "this CPU has no instructions for \(compute) products; compute in float32")
        }
        self.config = config
        self.source = source
        weights = try NativeWeights(config, tensors)
        shape = weights.shape(config)
        self.compute = if let compute { compute } else { try ComputeType.preferred(for: shape.elementType) }
        streamsWeights = weights.areMapped && shape.parameterBytes > Memory.limit / 2
        rotary = RotaryTable(config.rotary, headSize: config.headSize)
    }

    public func start(_ batch: TokenBatch) throws(PruneError) -> any HiddenState {
        try batch.check(vocabulary: config.vocabularySize)
        try Memory.require(128 * batch.rowCount, for: "\(batch.rowCount) tokens", "use fewer tokens per batch")
        let width = config.hiddenSize
        let values = try scratch.buffer(batch.rowCount * width)
        let tokens = batch.data.tokens[batch.tokens]
        try reading(weights.files.embedding) {
            for (row, token) in tokens.enumerated() {
                weights.embedding.widen(first: Int(token), count: 1, into: values.pointer + row * width)
            }
        }
        return NativeState(batch, values)
    }

    public func apply(_ sublayer: Int, to states: [any HiddenState]) throws(PruneError) -> [any HiddenState] {
        let before = try states.map(native)
        let after = try before.map { state throws(PruneError) in
            NativeState(state.batch, try scratch.buffer(state.values.count))
        }
        askAhead(for: sublayer + 1)
        for group in consecutiveGroups(ofRows: before.map(\.batch.rowCount), atMost: RowLimit.call) {
            try readingSublayer(sublayer) { () throws(PruneError) in
                try apply(sublayer, to: Array(before[group]), giving: Array(after[group]))
            }
        }
        return after
    }

    private func apply(
        _ sublayer: Int, to before: [NativeState], giving after: [NativeState]
    ) throws(PruneError) {
        let block = sublayer / 2
        try BLAS.products(in: compute) { () throws(PruneError) in
            switch (compute, sublayer % 2) {
            case (.float32, 0): try attend(block: block, before, after)
            case (.float32, _): try feedForward(block: block, before, after)
            case (.bfloat16, 0): try attendRounded(block: block, before, after)
            case (.bfloat16, _): try feedForwardRounded(block: block, before, after)
            }
        }
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
        return NativeState(state.batch, values)
    }

    public func norm(ofSublayer sublayer: Int) throws(PruneError) -> InputNorm? {
        let block = sublayer / 2
        let norm = sublayer % 2 == 0 ? weights.attention[block].norm : weights.feedForward[block].norm
        let gain = try readingSublayer(sublayer) { () throws(PruneError) in try norm.gain.floats(scratch) }
        return InputNorm(
            gain: Array(UnsafeBufferPointer(start: gain.pointer, count: gain.count)), epsilon: norm.epsilon)
    }

    func native(_ state: any HiddenState) throws(PruneError) -> NativeState {
        guard let state = state as? NativeState, state.values.count == state.batch.rowCount * config.hiddenSize else {
            throw PruneError(.internal, "a hidden state of another model was given to this one")
        }
        return state
    }
}
