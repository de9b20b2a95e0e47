// SPDX-License-Identifier: Apache-2.0
@testable import PruneCore

#if canImport(Glibc)
    import Glibc
#endif

/// A small model with gradients that a reader can check: sublayer u adds tanh(matrix_u * h + carry_u) to a row's state h,
/// where carry is a share of the row before it in the sequence, so that tokens see one another. Logits are head * h.
final class CurvedModel: RowModel {
    let shape: ModelShape
    let compute = ComputeType.float32
    let hasGradients: Bool
    /// The share of the row before it.
    private let carry: Float = 0.5
    private let embeddings: [[Float]]
    /// By sublayer, width x width.
    private let matrices: [[[Float]]]
    private let head: [[Float]]
    /// A token for which sublayer 1 gives NaN.
    let brokenToken: Int32?
    private let norm: NormKind

    /// - Parameter norm: before each sublayer, for adapters alone; a layer norm has a bias.
    init(
        blocks: Int = 3, width: Int = 6, vocabulary: Int = 9, hasGradients: Bool = true, brokenToken: Int32? = nil,
        norm: NormKind = .rootMeanSquare
    ) {
        self.norm = norm
        var random = RandomSource(seed: 5, stream: 0)
        func matrix(_ rows: Int, _ columns: Int, _ scale: Float) -> [[Float]] {
            (0..<rows).map { _ in (0..<columns).map { _ in scale * Float(2 * random.unit() - 1) } }
        }
        embeddings = matrix(vocabulary, width, 1)
        matrices = (0..<2 * blocks).map { _ in matrix(width, width, 1) }
        head = matrix(vocabulary, width, 0.7)
        self.hasGradients = hasGradients
        self.brokenToken = brokenToken
        shape = ModelShape(
            architecture: "Curved", elementType: .float32, blockCount: blocks, hiddenSize: width,
            feedForwardSize: width,
            headCount: 1, kvHeadCount: 1, headSize: 2, vocabularySize: vocabulary, contextLength: 64,
            tiesEmbeddings: false, fixedParameters: 0, fixedParameterBytes: 0,
            sublayers: (0..<2 * blocks).map { _ in
                SublayerCost(
                    parameters: width * width, parameterBytes: 4 * width * width, keyValueBytes: 0, window: nil)
            })
    }

    func start(_ batch: TokenBatch) throws(PruneError) -> any HiddenState {
        try batch.check(vocabulary: shape.vocabularySize)
        return RowState(batch, batch.data.tokens[batch.tokens].map { embeddings[Int($0)] })
    }

    func norm(ofSublayer sublayer: Int) -> InputNorm? {
        InputNorm(
            norm, gain: (0..<shape.hiddenSize).map { 1 + 0.1 * Float($0) },
            bias: norm == .layer ? (0..<shape.hiddenSize).map { 0.5 - 0.2 * Float($0) } : nil, epsilon: 1e-3)
    }

    func apply(_ sublayer: Int, to states: [any HiddenState]) throws(PruneError) -> [any HiddenState] {
        states.map { state in
            let own = state as! RowState
            return RowState(
                own.batch, zip(own.rows, values(sublayer, own)).map { row, value in zip(row, value).map { $0 + $1 } })
        }
    }

    /// What a sublayer adds.
    private func values(_ sublayer: Int, _ state: RowState) -> [[Float]] {
        var result: [[Float]] = []
        for sequence in state.batch.sequences {
            for row in state.batch.rows(ofSequence: sequence) {
                let isFirst = row == state.batch.rows(ofSequence: sequence).lowerBound
                let token = state.batch.data.tokens[state.batch.tokens.lowerBound + row]
                let broken: Float = sublayer == 1 && token == brokenToken ? .nan : 0
                result.append(
                    (0..<shape.hiddenSize).map { out in
                        var sum: Float = 0
                        for (weight, value) in zip(matrices[sublayer][out], state.rows[row]) { sum += weight * value }
                        if !isFirst { sum += carry * state.rows[row - 1][out] }
                        return tanh(sum) + broken
                    })
            }
        }
        return result
    }

    func pullback(
        _ sublayer: Int, at states: [any HiddenState], of gradients: [any HiddenState]
    ) throws(PruneError) -> [any HiddenState] {
        guard hasGradients else { throw noGradients }
        return zip(states, gradients).map { state, gradient in
            let (state, gradient) = (state as! RowState, gradient as! RowState)
            let values = values(sublayer, state)
            var result = gradient.rows
            for sequence in state.batch.sequences {
                let rows = state.batch.rows(ofSequence: sequence)
                for row in rows {
                    for out in 0..<shape.hiddenSize {
                        let slope = gradient.rows[row][out] * (1 - values[row][out] * values[row][out])
                        for column in 0..<shape.hiddenSize {
                            result[row][column] += slope * matrices[sublayer][out][column]
                        }
                        if row > rows.lowerBound { result[row - 1][out] += carry * slope }
                    }
                }
            }
            return RowState(state.batch, result)
        }
    }

    func logits(ofRow row: [Float]) -> [Double] {
        head.map { weights in zip(weights, row).reduce(0.0) { $0 + Double($1.0) * Double($1.1) } }
    }

    func headPullback(
        _ state: any HiddenState, _ objective: HeadObjective, at rows: [Int], weights: [Float]
    ) throws(PruneError) -> (losses: [Float], gradient: any HiddenState) {
        guard hasGradients else { throw noGradients }
        let own = state as! RowState
        var result = own.rows.map { _ in [Float](repeating: 0, count: shape.hiddenSize) }
        var losses: [Float] = []
        for (row, weight) in zip(rows, weights) {
            let q = softmax(logits(ofRow: own.rows[row]))
            let slopes: [Double]
            switch objective {
            case .crossEntropy:
                let token = Int(own.batch.followers(of: [row])[0])
                losses.append(Float(-log(q[token])))
                slopes = q.enumerated().map { $1 - ($0 == token ? 1 : 0) }
            case .kl(let reference):
                let p = softmax(logits(ofRow: (reference as! RowState).rows[row]))
                losses.append(Float(relativeEntropy(of: p, from: q)))
                slopes = zip(q, p).map { $0 - $1 }
            case .js(let reference):
                let p = softmax(logits(ofRow: (reference as! RowState).rows[row]))
                losses.append(Float(jensenShannon(p, q)))
                // d/dq_j = log(q_j / m_j) / 2, through the softmax.
                let terms = zip(p, q).map { log($1 / (($0 + $1) / 2)) / 2 }
                let mean = zip(terms, q).reduce(0.0) { $0 + $1.0 * $1.1 }
                slopes = zip(terms, q).map { $1 * ($0 - mean) }
            }
            for column in 0..<shape.hiddenSize {
                let sum = zip(slopes, head).reduce(0.0) { $0 + $1.0 * Double($1.1[column]) }
                result[row][column] = Float(sum * Double(weight))
            }
        }
        return (losses, RowState(own.batch, result))
    }
}
