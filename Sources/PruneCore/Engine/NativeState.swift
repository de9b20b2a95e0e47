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
}
