// SPDX-License-Identifier: Apache-2.0
/// A model that computes nothing: walking masks with it tells what the walk would take.
final class DryRun: Model {
    let shape: ModelShape
    let readsWeights = false

    private final class State: HiddenState {
        let batch: TokenBatch

        init(_ batch: TokenBatch) { self.batch = batch }
    }

    init(_ shape: ModelShape) { self.shape = shape }

    func start(_ batch: TokenBatch) throws(PruneError) -> any HiddenState { State(batch) }

    func apply(_ sublayer: Int, to states: [any HiddenState]) throws(PruneError) -> [any HiddenState] {
        states.map { State($0.batch) }
    }

    private var noValues: PruneError { PruneError(.internal, "a dry run has no values") }

    func losses(_ state: any HiddenState, at rows: [Int], of tokens: [Int32]) throws(PruneError) -> [Float] {
        throw noValues
    }

    func distances(
        _ state: any HiddenState, to reference: any HiddenState, _ kind: LogitDistance, at rows: [Int]
    ) throws(PruneError) -> [Float] { throw noValues }

    func logits(_ state: any HiddenState, at rows: Range<Int>, into out: inout MutableSpan<Float>) throws(PruneError) {
        throw noValues
    }

    func read<Result>(
        _ state: any HiddenState, _ body: (Span<Float>) throws(PruneError) -> Result
    ) throws(PruneError) -> Result { throw noValues }

    func write(
        like state: any HiddenState, _ body: (inout MutableSpan<Float>) throws(PruneError) -> Void
    ) throws(PruneError) -> any HiddenState { throw noValues }

    func magnitude(ofSublayer sublayer: Int) -> Double? { nil }
}
