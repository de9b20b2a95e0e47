// SPDX-License-Identifier: Apache-2.0
extension NativeModel {
    /// A model over weights that a host holds in memory; nothing is copied, and every call reads them anew. Adapters that
    /// may be among them are left out: see `openModel`.
    ///
    /// - Parameters:
    ///   - configuration: the text of config.json, called `name` in error texts.
    ///   - tensors: named as in a checkpoint; those that the model does not need are ignored.
    ///   - memory: what the tensors lie in. The model, and whatever is made of it, keeps it alive.
    /// Errors: as for a directory; `.argument` for a tensor that cannot be, or two of one name.
    public convenience init(
        configuration: [UInt8], name: String, tensors: [LentTensor], in memory: LentMemory, compute: ComputeType? = nil
    ) throws(PruneError) {
        let checkpoint = try Checkpoint.lent(configuration: configuration, name: name, tensors, in: memory)
        try self.init(checkpoint, compute: compute)
    }
}
