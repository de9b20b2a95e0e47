// SPDX-License-Identifier: Apache-2.0
/// A hidden state in our own memory: rowCount x hiddenSize floats.
final class NativeState: HiddenState {
    let batch: TokenBatch
    let values: FloatBuffer

    init(_ batch: TokenBatch, _ values: FloatBuffer) {
        self.batch = batch
        self.values = values
    }
}
