// SPDX-License-Identifier: Apache-2.0
@testable import PruneCore

/// Another model under watch: which calls it gets, and how many rows its states hold at a time. Used by one thread.
final class WatchedModel: Model, @unchecked Sendable {
    let inner: any Model
    let rereadsWeights: Bool
    /// Sublayer and states of every call of `apply`.
    private(set) var calls: [(sublayer: Int, states: Int)] = []
    /// Rows of all states that are alive, now and at most.
    private(set) var rowsAlive = 0
    private(set) var mostRowsAlive = 0
    /// Fails at this call of `apply`.
    var failsAtCall = Int.max

    final class State: HiddenState, @unchecked Sendable {
        let inner: any HiddenState
        let model: WatchedModel
        var batch: TokenBatch { inner.batch }

        init(_ inner: any HiddenState, _ model: WatchedModel) {
            self.inner = inner
            self.model = model
            model.rowsAlive += inner.batch.rowCount
            model.mostRowsAlive = max(model.mostRowsAlive, model.rowsAlive)
        }

        deinit { model.rowsAlive -= inner.batch.rowCount }
    }

    init(_ inner: any Model, rereadsWeights: Bool = false) {
        self.inner = inner
        self.rereadsWeights = rereadsWeights
    }

    /// Sublayers are told apart by what they leave in the first place of the state: sublayer u adds 2^u.
    static func powers(blocks: Int, rereadsWeights: Bool = false) -> WatchedModel {
        let updates = (0..<2 * blocks).map { [Float(1 << $0), 0, 0] }
        return WatchedModel(HandModel(updates: updates), rereadsWeights: rereadsWeights)
    }

    /// The sublayers that `powers` applied to a state of token 0, as a mask.
    func applied(_ state: any HiddenState) throws -> KeepMask {
        let sum = try read(state) { values throws(PruneError) in Int(values[0]) }
        return try KeepMask(bytes: (0..<shape.sublayerCount).map { UInt8(sum >> $0 & 1) })
    }

    var shape: ModelShape { inner.shape }
    var readsWeights: Bool { inner.readsWeights }

    private func own(_ state: any HiddenState) -> any HiddenState { (state as! State).inner }

    func start(_ batch: TokenBatch) throws(PruneError) -> any HiddenState { State(try inner.start(batch), self) }

    func apply(_ sublayer: Int, to states: [any HiddenState]) throws(PruneError) -> [any HiddenState] {
        calls.append((sublayer, states.count))
        if calls.count == failsAtCall { throw PruneError(.memory, "this call was to fail") }
        return try inner.apply(sublayer, to: states.map(own)).map { State($0, self) }
    }

    func losses(_ state: any HiddenState, at rows: [Int], of tokens: [Int32]) throws(PruneError) -> [Float] {
        try inner.losses(own(state), at: rows, of: tokens)
    }

    func distances(
        _ state: any HiddenState, to reference: any HiddenState, _ kind: LogitDistance, at rows: [Int]
    ) throws(PruneError) -> [Float] { try inner.distances(own(state), to: own(reference), kind, at: rows) }

    func logits(_ state: any HiddenState, at rows: Range<Int>, into out: inout MutableSpan<Float>) throws(PruneError) {
        try inner.logits(own(state), at: rows, into: &out)
    }

    func read<Result>(
        _ state: any HiddenState, _ body: (Span<Float>) throws(PruneError) -> Result
    ) throws(PruneError) -> Result { try inner.read(own(state), body) }

    func write(
        like state: any HiddenState, _ body: (inout MutableSpan<Float>) throws(PruneError) -> Void
    ) throws(PruneError) -> any HiddenState { State(try inner.write(like: own(state), body), self) }

    func magnitude(ofSublayer sublayer: Int) throws(PruneError) -> Double? { try inner.magnitude(ofSublayer: sublayer) }
}
