// SPDX-License-Identifier: Apache-2.0
internal import Synchronization

/// A model whose layers a host runs, wherever they live. What the host does not offer is computed from what it does, or
/// refused with the name of the call that is missing.
public final class HostModel: Model {
    public let shape: ModelShape
    let host: any HostCallbacks
    let scratch = BufferPool()
    public let readsWeights = false
    /// Whether tokens are known to see those before them alone: the host says so, or has been tested.
    let isCausal: Atomic<Bool>

    /// - Parameter knownCausal: whether the host vouches that tokens see those before them alone; else it is tested.
    /// Errors: `.argument` if neither a walk over sublayers nor whole evaluations are offered; those of
    /// `Kernels.checkEnvironment`.
    public init(_ shape: ModelShape, _ host: any HostCallbacks, knownCausal: Bool = false) throws(PruneError) {
        try Kernels.checkEnvironment()
        let walks = host.offers.isSuperset(of: .walk)
        guard walks || host.offers.contains(.evaluate) else {
            let needed: [(HostOffers, String)] = [(.embed, "embed"), (.apply, "apply"), (.release, "release")]
            let names = needed.filter { !host.offers.contains($0.0) }.map(\.1).joined(separator: ", ")
            throw PruneError(
                .argument, "host.\(names) is NULL; a host offers embed, apply and release, or evaluate alone")
        }
        guard !walks || (shape.hiddenSize > 0 && shape.vocabularySize > 0) else {
            throw PruneError(
                .argument, "host.hidden_size and host.vocabulary_size must be at least 1 beside embed and apply")
        }
        self.shape = shape
        self.host = host
        isCausal = Atomic(knownCausal)
    }

    deinit { host.close() }

    public var runsSublayers: Bool { offers(.walk) }

    func offers(_ calls: HostOffers) -> Bool { host.offers.isSuperset(of: calls) }

    public func start(_ batch: TokenBatch) throws(PruneError) -> any HiddenState {
        guard runsSublayers else {
            throw missing("embed, apply and release", "runs sublayers; evaluate gives losses of whole masks alone")
        }
        try batch.check(vocabulary: shape.vocabularySize)
        // What a host gives of rows comes in arrays of up to twelve doubles a row.
        try Memory.require(256 * batch.rowCount, for: "\(batch.rowCount) tokens", "use fewer tokens per batch")
        try checkCausality(batch.data)
        return HostState(batch, try host.embed(batch), self)
    }

    public func apply(_ sublayer: Int, to states: [any HiddenState]) throws(PruneError) -> [any HiddenState] {
        // The even sublayer of a block that the host runs whole stands for all of it.
        if shape.hasWholeBlocks, sublayer % 2 == 1 { return states }
        let before = try states.map(own)
        // Before the call: what it gives is ours to release from then on.
        let batches = before.map(\.batch)
        return try withExtendedLifetime(before) { () throws(PruneError) in
            zip(batches, try host.apply(sublayer, to: before.map(\.handle))).map { HostState($0, $1, self) }
        }
    }

    public func losses(_ state: any HiddenState, at rows: [Int], of tokens: [Int32]) throws(PruneError) -> [Float] {
        let state = try own(state)
        guard offers(.tokenLosses) else { return try lossesOfLogits(state, at: rows, of: tokens) }
        return try withExtendedLifetime(state) { () throws(PruneError) in
            try host.tokenLosses(state.handle, at: rows, of: tokens)
        }
    }

    public func distances(
        _ state: any HiddenState, to reference: any HiddenState, _ kind: LogitDistance, at rows: [Int]
    ) throws(PruneError) -> [Float] {
        let (state, reference) = (try own(state), try own(reference))
        guard offers(.distances) else {
            return try distancesOfLogits(state, to: reference, kind, at: rows)
        }
        return try withExtendedLifetime((state, reference)) { () throws(PruneError) in
            try host.distances(state.handle, to: reference.handle, kind, at: rows)
        }
    }

    public func logits(
        _ state: any HiddenState, at rows: Range<Int>, into out: inout MutableSpan<Float>
    ) throws(PruneError) {
        let state = try own(state)
        guard offers(.logits) else { throw missing("logits", "gives logits") }
        guard rows.lowerBound >= 0, rows.upperBound <= state.batch.rowCount,
            out.count == rows.count * shape.vocabularySize
        else { throw PruneError(.internal, "logits of \(rows) do not fit the room of \(out.count) values") }
        var failure: PruneError?
        out.withUnsafeMutableBufferPointer { out in
            // Safe: the room is that of the rows, and the host has it for the call alone.
            guard let base = out.baseAddress else { return }
            do throws(PruneError) { try host.logits(state.handle, at: rows, into: base) } catch { failure = error }
        }
        withExtendedLifetime(state) {}
        if let failure { throw failure }
    }

    public var readsStates: Bool { runsSublayers && (offers(.read) || offers(.compare)) }

    public func read<Result>(
        _ state: any HiddenState, _ body: (Span<Float>) throws(PruneError) -> Result
    ) throws(PruneError) -> Result {
        let state = try own(state)
        guard offers(.read) else { throw missing("read", "gives the values of a hidden state") }
        let values = try scratch.buffer(state.batch.rowCount * shape.hiddenSize)
        try withExtendedLifetime(state) { () throws(PruneError) in try host.read(state.handle, into: values.pointer) }
        // Safe: the buffer is ours until the end of the call.
        return try withExtendedLifetime(values) { () throws(PruneError) in
            try body(UnsafeBufferPointer(start: values.pointer, count: values.count).span)
        }
    }

    public func compare(
        _ before: any HiddenState, _ after: any HiddenState, at rows: [Int]
    ) throws(PruneError) -> [StateComparison]? {
        guard offers(.compare) else {
            guard offers(.read) else { throw missing("compare, or read,", "gives static metrics") }
            return nil
        }
        let (before, after) = (try own(before), try own(after))
        return try withExtendedLifetime((before, after)) { () throws(PruneError) in
            try host.compare(before.handle, after.handle, at: rows)
        }
    }

    public func write(
        like state: any HiddenState, _ body: (inout MutableSpan<Float>) throws(PruneError) -> Void
    ) throws(PruneError) -> any HiddenState {
        let state = try own(state)
        guard offers(.write) else { throw missing("write", "takes the values of a hidden state") }
        let values = try scratch.buffer(state.batch.rowCount * shape.hiddenSize)
        // Safe: nobody else has the buffer yet.
        var span = UnsafeMutableBufferPointer(start: values.pointer, count: values.count).mutableSpan
        try body(&span)
        return try withExtendedLifetime((state, values)) { () throws(PruneError) in
            HostState(state.batch, try host.write(like: state.handle, values.pointer), self)
        }
    }

    public func norm(ofSublayer sublayer: Int) throws(PruneError) -> InputNorm? {
        guard offers(.norm) || offers(.layerNorm) else { return nil }
        try Memory.require(16 * shape.hiddenSize, for: "the gain of a norm", "end other work first")
        return try host.norm(ofSublayer: sublayer, hiddenSize: shape.hiddenSize)
    }

    public func apply(
        _ adapter: Adapter, inPlaceOf sublayer: Int, to state: any HiddenState, _ scratch: BufferPool
    ) throws(PruneError) -> any HiddenState {
        // A host that does not know of layer norms would take one for another norm.
        let isKnown = adapter.norm?.kind != .layer || offers(.layerNorm)
        guard offers(.applyAdapter), isKnown else { return try compute(adapter, on: state, scratch) }
        let state = try own(state)
        return try withExtendedLifetime(state) { () throws(PruneError) in
            HostState(state.batch, try host.apply(adapter, inPlaceOf: sublayer, to: state.handle), self)
        }
    }

    public func losses(of data: TokenData, under masks: [KeepMask]) throws(PruneError) -> [Double]? {
        if runsSublayers, offers(.tokenLosses) || offers(.logits) { return nil }
        guard offers(.evaluate) else { return nil }
        guard !masks.isEmpty else { return [] }
        try checkCausality(data)
        return try host.evaluate(data, under: masks)
    }

    public func magnitude(ofSublayer sublayer: Int) -> Double? { nil }

    /// What a caller learns who needs more than the host offers.
    func missing(_ callback: String, _ ability: String) -> PruneError {
        PruneError(.unsupported, "this needs the host's \(callback), which \(ability), and the host does not offer it")
    }

    func own(_ state: any HiddenState) throws(PruneError) -> HostState {
        guard let state = state as? HostState, state.model === self else {
            throw PruneError(.internal, "a hidden state of another model was given to this one")
        }
        return state
    }
}

/// A host's hidden state, released when nobody holds it any more.
final class HostState: HiddenState {
    let batch: TokenBatch
    /// Safe: a number, never followed here.
    nonisolated(unsafe) let handle: HostHandle
    /// Holds the host, too: it lives as long as its states.
    let model: HostModel

    init(_ batch: TokenBatch, _ handle: HostHandle, _ model: HostModel) {
        self.batch = batch
        self.handle = handle
        self.model = model
    }

    deinit { model.host.release(handle) }
}
