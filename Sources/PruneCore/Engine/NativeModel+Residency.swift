// SPDX-License-Identifier: Apache-2.0
extension NativeModel {
    /// Whether the weights are larger than the memory that is free, so that a mapped file is read again in every pass.
    /// Pages of the file that are in memory count as free. Weights that a host holds in memory are never read again.
    public var rereadsWeights: Bool { weights.areMapped && shape.parameterBytes > Memory.free }

    /// Has the weights of a sublayer, if there is one, read in the background where they may not be in memory.
    func askAhead(for sublayer: Int) {
        guard streamsWeights, sublayer < shape.sublayerCount else { return }
        for tensor in weights.tensors(ofSublayer: sublayer) { tensor.willNeed() }
    }
}
