// SPDX-License-Identifier: Apache-2.0
@testable import PruneCore

/// The hidden state of a `RowModel`.
final class RowState: HiddenState {
    let batch: TokenBatch
    let rows: [[Float]]

    init(_ batch: TokenBatch, _ rows: [[Float]]) {
        self.batch = batch
        self.rows = rows
    }
}

/// What models for tests share: hidden states are rows of numbers, and what is computed from logits is plain arithmetic in
/// double. A model says how its sublayers act on rows, and which logits a row has.
protocol RowModel: Model {
    func logits(ofRow row: [Float]) -> [Double]
}

extension RowModel {
    var readsWeights: Bool { false }

    func magnitude(ofSublayer sublayer: Int) -> Double? { nil }

    func losses(_ state: any HiddenState, at rows: [Int], of tokens: [Int32]) throws(PruneError) -> [Float] {
        let own = state as! RowState
        return zip(rows, tokens).map { row, token in Float(-logSoftmax(logits(ofRow: own.rows[row]))[Int(token)]) }
    }

    func distances(
        _ state: any HiddenState, to reference: any HiddenState, _ kind: LogitDistance, at rows: [Int]
    ) throws(PruneError) -> [Float] {
        let (own, other) = (state as! RowState, reference as! RowState)
        return rows.map { row in
            let (a, b) = (logits(ofRow: own.rows[row]), logits(ofRow: other.rows[row]))
            return switch kind {
            case .l2: Float(zip(a, b).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }.squareRoot())
            case .kl: Float(relativeEntropy(of: softmax(b), from: softmax(a)))
            case .js: Float(jensenShannon(softmax(a), softmax(b)))
            }
        }
    }

    func logits(_ state: any HiddenState, at rows: Range<Int>, into out: inout MutableSpan<Float>) throws(PruneError) {
        let values = rows.flatMap { logits(ofRow: (state as! RowState).rows[$0]) }
        for (index, value) in values.enumerated() { out[index] = Float(value) }
    }

    func read<Result>(
        _ state: any HiddenState, _ body: (Span<Float>) throws(PruneError) -> Result
    ) throws(PruneError) -> Result {
        let values = (state as! RowState).rows.flatMap { $0 }
        return try body(values.span)
    }

    func write(
        like state: any HiddenState, _ body: (inout MutableSpan<Float>) throws(PruneError) -> Void
    ) throws(PruneError) -> any HiddenState {
        let width = shape.hiddenSize
        var values = [Float](repeating: 0, count: state.batch.rowCount * width)
        var span = values.mutableSpan
        try body(&span)
        return RowState(state.batch, (0..<state.batch.rowCount).map { Array(values[$0 * width..<($0 + 1) * width]) })
    }
}
