// SPDX-License-Identifier: Apache-2.0
/// A hidden state in our own memory: rowCount x hiddenSize floats; or a gradient with respect to one.
final class NativeState: HiddenState {
    let batch: TokenBatch
    let values: FloatBuffer
    /// The sublayer before which it stands: norms that removed sublayers leave behind are still to come from there on.
    let place: Int
    /// The hidden state before the block, which the feed-forward of a parallel block reads, where attention was applied.
    let blockInput: FloatBuffer?

    init(_ batch: TokenBatch, _ values: FloatBuffer, before place: Int, blockInput: FloatBuffer? = nil) {
        self.batch = batch
        self.values = values
        self.place = place
        self.blockInput = blockInput
    }

    /// Of the block of that feed-forward; nil if its attention was not applied, whatever an earlier block left.
    func blockInput(of sublayer: Int) -> FloatBuffer? { place == sublayer ? blockInput : nil }
}

/// The norm after a sum, where its sublayer is removed.
struct RemainingNorm: RemovedSublayer {
    let model: NativeModel
    let sublayer: Int

    func apply(_ state: any HiddenState) throws(PruneError) -> any HiddenState {
        try model.settled(model.native(state), before: sublayer + 1)
    }

    func pullback(at state: any HiddenState, of gradient: any HiddenState) throws(PruneError) -> any HiddenState {
        try model.unsettled(model.native(gradient), of: model.native(state), before: sublayer + 1)
    }
}
