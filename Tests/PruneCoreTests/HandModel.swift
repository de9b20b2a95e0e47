// SPDX-License-Identifier: Apache-2.0
@testable import PruneCore

/// A model whose arithmetic a reader can do by hand: sublayer u adds `updates[u]` to every token's hidden state.
///
/// The state before sublayer 0 is the token's id in the first place and 1 in the second. Logits are the hidden state
/// itself, so the vocabulary has as many entries as the state is wide.
final class HandModel: Model {
    let shape: ModelShape
    let updates: [[Float]]
    let readsWeights = false

    final class State: HiddenState {
        let batch: TokenBatch
        let rows: [[Float]]

        init(_ batch: TokenBatch, _ rows: [[Float]]) {
            self.batch = batch
            self.rows = rows
        }
    }

    init(updates: [[Float]]) {
        self.updates = updates
        let width = updates[0].count
        shape = ModelShape(
            architecture: "Hand", elementType: .float32, blockCount: updates.count / 2, hiddenSize: width,
            feedForwardSize: 1, headCount: 1, kvHeadCount: 1, headSize: 2, vocabularySize: width, contextLength: 16,
            tiesEmbeddings: true, fixedParameters: 5, fixedParameterBytes: 20,
            sublayers: updates.indices.map {
                SublayerCost(
                    parameters: $0 + 1, parameterBytes: 4 * ($0 + 1), keyValueBytes: $0 % 2 == 0 ? 8 : 0, window: nil)
            })
    }

    func start(_ batch: TokenBatch) throws(PruneError) -> any HiddenState {
        let width = shape.hiddenSize
        return State(
            batch,
            batch.data.tokens[batch.tokens].map { id in
                [Float(id), 1] + Array(repeating: 0, count: width - 2)
            })
    }

    func apply(_ sublayer: Int, to states: [any HiddenState]) throws(PruneError) -> [any HiddenState] {
        states.map { state in
            let own = state as! State
            return State(own.batch, own.rows.map { row in zip(row, updates[sublayer]).map(+) })
        }
    }

    func losses(_ state: any HiddenState, at rows: [Int], of tokens: [Int32]) throws(PruneError) -> [Float] {
        let own = state as! State
        return zip(rows, tokens).map { row, token in
            Float(-logSoftmax(own.rows[row].map(Double.init))[Int(token)])
        }
    }

    func distances(
        _ state: any HiddenState, to reference: any HiddenState, _ kind: LogitDistance, at rows: [Int]
    ) throws(PruneError) -> [Float] {
        let (own, other) = (state as! State, reference as! State)
        return rows.map { row in
            let (a, b) = (own.rows[row].map(Double.init), other.rows[row].map(Double.init))
            return switch kind {
            case .l2: Float(zip(a, b).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }.squareRoot())
            case .kl: Float(relativeEntropy(of: softmax(b), from: softmax(a)))
            case .js: Float(jensenShannon(softmax(a), softmax(b)))
            }
        }
    }

    func logits(_ state: any HiddenState, at rows: Range<Int>, into out: inout MutableSpan<Float>) throws(PruneError) {
        for (index, value) in rows.flatMap({ (state as! State).rows[$0] }).enumerated() { out[index] = value }
    }

    func read<Result>(
        _ state: any HiddenState, _ body: (Span<Float>) throws(PruneError) -> Result
    ) throws(PruneError) -> Result {
        let values = (state as! State).rows.flatMap { $0 }
        return try body(values.span)
    }

    func write(
        like state: any HiddenState, _ body: (inout MutableSpan<Float>) throws(PruneError) -> Void
    ) throws(PruneError) -> any HiddenState {
        let width = shape.hiddenSize
        var values = [Float](repeating: 0, count: state.batch.rowCount * width)
        var span = values.mutableSpan
        try body(&span)
        return State(state.batch, (0..<state.batch.rowCount).map { Array(values[$0 * width..<($0 + 1) * width]) })
    }

    func magnitude(ofSublayer sublayer: Int) -> Double? { nil }
}

#if canImport(Glibc)
    import Glibc
#endif

func logSumExp(_ values: [Double]) -> Double {
    log(values.reduce(0) { $0 + exp($1) })
}

func logSoftmax(_ values: [Double]) -> [Double] {
    let sum = logSumExp(values)
    return values.map { $0 - sum }
}

func softmax(_ values: [Double]) -> [Double] { logSoftmax(values).map { exp($0) } }

/// KL(p || q)
func relativeEntropy(of p: [Double], from q: [Double]) -> Double {
    zip(p, q).reduce(0) { $0 + $1.0 * log($1.0 / $1.1) }
}

func jensenShannon(_ p: [Double], _ q: [Double]) -> Double {
    let middle = zip(p, q).map { ($0 + $1) / 2 }
    return (relativeEntropy(of: p, from: middle) + relativeEntropy(of: q, from: middle)) / 2
}
