// SPDX-License-Identifier: Apache-2.0
/// The hidden state of a batch on the residual stream: one row of `hiddenSize` values per token.
///
/// Immutable once made, so several continuations can start from it. Owns its memory, or the host's handle, and gives it
/// back when it goes.
public protocol HiddenState: AnyObject, Sendable {
    var batch: TokenBatch { get }
}

/// Tokens of which the losses are wanted, each beside the row that predicts it.
///
/// As many tokens as rows, all in the vocabulary. A row may be asked of several tokens; one after the other is cheapest.
public struct LossRequest: Sendable {
    public let state: any HiddenState
    public let rows: [Int]
    public let tokens: [Int32]
}

/// How far the logits of a hidden state are from those of a reference, per token.
public enum LogitDistance: Sendable {
    /// Euclidean norm of the difference, over the vocabulary.
    case l2
    /// KL(reference || state) of the next-token distributions, nats.
    case kl
    /// Jensen-Shannon divergence of the next-token distributions, nats: symmetric, at most ln 2.
    case js
}

/// The norm at the input of a sublayer; see `NormKind` for the formulas.
public struct InputNorm: Sendable, Equatable {
    public let kind: NormKind
    /// hiddenSize values.
    public let gain: [Float]
    /// hiddenSize values; nil = none.
    public let bias: [Float]?
    public let epsilon: Float

    public init(_ kind: NormKind = .rootMeanSquare, gain: [Float], bias: [Float]? = nil, epsilon: Float) {
        self.kind = kind
        self.gain = gain
        self.bias = bias
        self.epsilon = epsilon
    }

    /// The norm with its numbers where the loops take them. Errors: `.memory`.
    func prepared(_ scratch: BufferPool) throws(PruneError) -> PreparedNorm {
        func buffer(_ values: [Float]) throws(PruneError) -> FloatBuffer {
            let buffer = try scratch.buffer(values.count)
            values.withUnsafeBufferPointer { values in
                if let base = values.baseAddress { buffer.pointer.update(from: base, count: values.count) }
            }
            return buffer
        }
        let zeros = kind == .layer ? Array(repeating: Float(0), count: gain.count) : nil
        let bias = try (bias ?? zeros).map(buffer)
        return PreparedNorm(kind: kind, epsilon: epsilon, gain: try buffer(gain), bias: bias)
    }
}

/// The one seam of the core: a decoder-only model as a row of sublayers that act on a hidden state.
///
/// Importance, evaluation, coalitions and recovery are written against it and never against an engine. Implementations:
/// `NativeModel`, and models that a host runs. They may be used by several threads at once.
public protocol Model: AnyObject, Sendable {
    var shape: ModelShape { get }

    /// What matrix products multiply in.
    var compute: ComputeType { get }

    /// The hidden state before sublayer 0.
    ///
    /// Errors: `.data` for an id outside the vocabulary; `.memory`.
    func start(_ batch: TokenBatch) throws(PruneError) -> any HiddenState

    /// The hidden states after `sublayer`, each from the one before it in `states`. They go through together, so that
    /// weights are read once for all; they may belong to different masks of one batch, or to different batches.
    func apply(_ sublayer: Int, to states: [any HiddenState]) throws(PruneError) -> [any HiddenState]

    /// For each of `rows`, -log of the probability that the token beside it in `tokens` comes next, in nats.
    ///
    /// As many tokens as rows, all in the vocabulary. A row may be asked of several tokens; one after the other is cheapest.
    func losses(_ state: any HiddenState, at rows: [Int], of tokens: [Int32]) throws(PruneError) -> [Float]

    /// The same for several states, in order. Each has the losses that it has alone; together, the head is read once.
    func losses(_ requests: [LossRequest]) throws(PruneError) -> [[Float]]

    /// For each of `rows`, the distance of its logits to those of the same row of `reference`, a state of the same batch.
    func distances(
        _ state: any HiddenState, to reference: any HiddenState, _ kind: LogitDistance, at rows: [Int]
    ) throws(PruneError) -> [Float]

    /// The logits of `rows`, one row of `vocabularySize` values each, into `out`, which has exactly their count.
    func logits(_ state: any HiddenState, at rows: Range<Int>, into out: inout MutableSpan<Float>) throws(PruneError)

    /// Whether it runs sublayer by sublayer; otherwise it evaluates whole masks.
    var runsSublayers: Bool { get }

    /// Whether hidden states can be read or compared.
    var readsStates: Bool { get }

    /// Lends the hidden state as rows * hiddenSize floats. Errors: `.unsupported` if it cannot be read.
    func read<Result>(
        _ state: any HiddenState, _ body: (Span<Float>) throws(PruneError) -> Result
    ) throws(PruneError) -> Result

    /// Compares rows of two states of a batch where they live, one comparison per row; nil if they are better read.
    func compare(
        _ before: any HiddenState, _ after: any HiddenState, at rows: [Int]
    ) throws(PruneError) -> [StateComparison]?

    /// A hidden state of the batch of `like` with the values that `body` fills in: rowCount * hiddenSize floats.
    ///
    /// Whatever a host's state carries besides is that of `like`. Gradients, which have the form of states, are written
    /// so, too. Errors: `.unsupported` if states cannot be written.
    func write(
        like state: any HiddenState, _ body: (inout MutableSpan<Float>) throws(PruneError) -> Void
    ) throws(PruneError) -> any HiddenState

    /// The hidden state after an adapter that stands in the place of `sublayer`.
    func apply(
        _ adapter: Adapter, inPlaceOf sublayer: Int, to state: any HiddenState, _ scratch: BufferPool
    ) throws(PruneError) -> any HiddenState

    /// The mean loss of a data set under each of some masks, from a model that offers nothing finer; nil if it runs
    /// sublayer by sublayer. Errors: as the host's.
    func losses(of data: TokenData, under masks: [KeepMask]) throws(PruneError) -> [Double]?

    /// What stays of a sublayer where it is removed; nil = nothing, as in most families. States may also go on without it:
    /// the next sublayer that is applied to them, and the head, find out what is missing.
    func removed(_ sublayer: Int) -> (any RemovedSublayer)?

    /// Whether `norm` tells for every sublayer whether there is a norm before it.
    var givesNorms: Bool { get }

    /// The norm before a sublayer; nil if there is none, or the model does not give it.
    func norm(ofSublayer sublayer: Int) throws(PruneError) -> InputNorm?

    /// Some weights from all over the model, by which adapters recognise it; empty if it does not give its weights.
    ///
    /// Errors: `.file` if a file of the weights changed; `.memory`.
    func weightSample() throws(PruneError) -> [Float]

    /// Whether it offers `pullback` and `headPullback`.
    var hasGradients: Bool { get }

    /// Why it does not: `.unsupported`, naming what is missing.
    var noGradients: PruneError { get }

    /// The gradients with respect to the states before `sublayer`, from those with respect to the states after it: its
    /// vector-Jacobian product, the residual path included. Weights stand still.
    ///
    /// What happens inside the sublayer is computed again, so that a caller keeps no more than the states between
    /// sublayers. A gradient has the form of a hidden state of its batch.
    /// - Parameters:
    ///   - states: those before the sublayer.
    ///   - gradients: one for each of `states`.
    /// Errors: `.unsupported` if the model has none; `.memory`.
    func pullback(
        _ sublayer: Int, at states: [any HiddenState], of gradients: [any HiddenState]
    ) throws(PruneError) -> [any HiddenState]

    /// Room for the gradients with respect to the matrices of a sublayer, biases and norms left out; all 0.
    ///
    /// Errors: `.unsupported` if the model has none; `.memory`.
    func weightGradients(ofSublayer sublayer: Int) throws(PruneError) -> WeightGradients

    /// `pullback`, which also adds the gradients with respect to the sublayer's matrices to `sums`.
    func pullback(
        _ sublayer: Int, at states: [any HiddenState], of gradients: [any HiddenState], addingTo sums: WeightGradients
    ) throws(PruneError) -> [any HiddenState]

    /// Sum of |w * gradient| over the matrices of a sublayer.
    ///
    /// Errors: `.unsupported` if the model has no gradients; `.memory`.
    func taylor(ofSublayer sublayer: Int, _ gradients: WeightGradients) throws(PruneError) -> Double

    /// The losses of some rows of a state after the last sublayer, and the gradient of sum(weights[i] * losses[i]) with
    /// respect to that state.
    ///
    /// - Parameters:
    ///   - rows: ascending, not empty; for `.crossEntropy` each has a token that follows it in its sequence.
    ///   - weights: one per row.
    /// Errors: `.unsupported` if the model has none; `.memory`.
    func headPullback(
        _ state: any HiddenState, _ objective: HeadObjective, at rows: [Int], weights: [Float]
    ) throws(PruneError) -> (losses: [Float], gradient: any HiddenState)

    /// Whether the weights do not stay in memory from one pass over the sublayers to the next, so that reading them rules
    /// the time: as many states as memory holds had better go through a sublayer before the next one is read.
    var rereadsWeights: Bool { get }

    /// Whether it offers `magnitude`.
    var readsWeights: Bool { get }

    /// Sum of |w| over the matrices of a sublayer (biases and norms left out), or nil if the weights cannot be read.
    ///
    /// Errors: `.file` if a file of the weights changed.
    func magnitude(ofSublayer sublayer: Int) throws(PruneError) -> Double?

    /// The neurons of a feed-forward: inputs of its last projection; 0 where no feed-forward stands.
    ///
    /// Errors: `.unsupported` for a mixture, and for models whose neurons cannot be read.
    func neuronCount(ofSublayer sublayer: Int) throws(PruneError) -> Int

    /// The L2 norm of what each neuron of a feed-forward is multiplied by: the columns of its last projection.
    ///
    /// Errors: as above; `.file` if a file of the weights changed; `.memory`.
    func neuronReach(ofSublayer sublayer: Int) throws(PruneError) -> [Double]

    /// `apply` of a feed-forward, which also tells what its neurons give. Errors: as above.
    func apply(
        _ sublayer: Int, to states: [any HiddenState], neurons: @escaping NeuronReader
    ) throws(PruneError) -> [any HiddenState]
}

extension Model {
    public func losses(_ requests: [LossRequest]) throws(PruneError) -> [[Float]] {
        try requests.map { request throws(PruneError) in
            try losses(request.state, at: request.rows, of: request.tokens)
        }
    }

    public var rereadsWeights: Bool { false }

    public func norm(ofSublayer sublayer: Int) throws(PruneError) -> InputNorm? { nil }

    public var runsSublayers: Bool { true }

    public var readsStates: Bool { true }

    public func compare(
        _ before: any HiddenState, _ after: any HiddenState, at rows: [Int]
    ) throws(PruneError) -> [StateComparison]? { nil }

    public func losses(of data: TokenData, under masks: [KeepMask]) throws(PruneError) -> [Double]? { nil }

    public func weightSample() throws(PruneError) -> [Float] { [] }

    /// Models that a host runs hand over fp32; what they multiply in is theirs to know.
    public var compute: ComputeType { .float32 }

    /// The hidden state of a batch after the kept sublayers of `mask`, from `state`, which is the one before `first`.
    ///
    /// - Parameter visit: told each sublayer that was applied, with the states before and after it.
    func run(
        _ state: any HiddenState, from first: Int = 0, to end: Int? = nil, under mask: KeepMask,
        visit: (_ sublayer: Int, _ before: any HiddenState, _ after: any HiddenState) throws(PruneError) -> Void = {
            (_, _, _) throws(PruneError) in
        }
    ) throws(PruneError) -> any HiddenState {
        var state = state
        for sublayer in first..<(end ?? shape.sublayerCount) {
            guard mask.keeps(sublayer) else {
                if let rest = removed(sublayer) { state = try rest.apply(state) }
                continue
            }
            let results = try apply(sublayer, to: [state])
            guard let after = results.first else {
                throw PruneError(.internal, "the model returned no hidden state for \(sublayerName(sublayer))")
            }
            try visit(sublayer, state, after)
            state = after
        }
        return state
    }

    /// Names the place where a batch's hidden state stops being finite under a mask, the first of `masks` where it does.
    ///
    /// For use after a result turned out not to be: computes the batch once more and looks at every state.
    func nonFiniteError(in batch: TokenBatch, under masks: KeepMask...) throws(PruneError) -> PruneError {
        guard readsStates else {
            return PruneError(
                .nonFinite,
                "a loss or a distance is not finite; the host does not offer read, so that where it began is not known")
        }
        let start = try start(batch)
        if let found = try nonFiniteError(in: start, after: "the embeddings") { return found }
        for mask in masks {
            var found: PruneError?
            _ = try run(start, under: mask) { (sublayer, _, after) throws(PruneError) in
                if found == nil { found = try nonFiniteError(in: after, after: sublayerName(sublayer)) }
            }
            if let found { return found }
        }
        return PruneError(
            .nonFinite, "the logits are not finite though every hidden state is; check final norm and head")
    }

    /// The first value of a hidden state that is not finite, as an error; nil if all are.
    private func nonFiniteError(in state: any HiddenState, after place: String) throws(PruneError) -> PruneError? {
        try read(state) { values throws(PruneError) -> PruneError? in
            for index in 0..<values.count where !values[index].isFinite {
                let token = state.batch.tokens.lowerBound + index / shape.hiddenSize
                return PruneError(
                    .nonFinite,
                    "the hidden state after \(place) is not finite (\(state.batch.data.place(of: token))); check its weights"
                )
            }
            return nil
        }
    }
}
