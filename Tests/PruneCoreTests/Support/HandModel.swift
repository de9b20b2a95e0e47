// SPDX-License-Identifier: Apache-2.0
@testable import PruneCore

/// A model whose arithmetic a reader can do by hand: sublayer u adds `updates[u]` to every token's hidden state.
///
/// The state before sublayer 0 is the token's id in the first place and 1 in the second. Logits are the hidden state
/// itself, so the vocabulary has as many entries as the state is wide.
final class HandModel: RowModel {
    let shape: ModelShape
    let updates: [[Float]]

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
        return RowState(
            batch,
            batch.data.tokens[batch.tokens].map { id in
                [Float(id), 1] + Array(repeating: 0, count: width - 2)
            })
    }

    func apply(_ sublayer: Int, to states: [any HiddenState]) throws(PruneError) -> [any HiddenState] {
        states.map { state in
            let own = state as! RowState
            return RowState(own.batch, own.rows.map { row in zip(row, updates[sublayer]).map(+) })
        }
    }

    func logits(ofRow row: [Float]) -> [Double] { row.map(Double.init) }
}
