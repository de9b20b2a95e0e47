// SPDX-License-Identifier: Apache-2.0
extension NativeModel {
    /// A model over weights that a host holds in memory; nothing is copied, and every call reads them anew.
    ///
    /// - Parameters:
    ///   - configuration: the text of config.json, called `name` in error texts.
    ///   - tensors: named as in a checkpoint; those that the model does not need are ignored.
    ///   - memory: what the tensors lie in. The model, and whatever is made of it, keeps it alive.
    /// Errors: as for a directory; `.argument` for a tensor that cannot be, or two of one name.
    public convenience init(
        configuration: [UInt8], name: String, tensors: [LentTensor], in memory: LentMemory, compute: ComputeType? = nil
    ) throws(PruneError) {
        guard configuration.count <= ModelConfig.sizeLimit else {
            throw PruneError(
                .format, "\(name): the text has \(configuration.count) bytes; at most \(ModelConfig.sizeLimit) are read"
            )
        }
        let table = try TensorTable(lent: tensors, in: memory, configuration: name)
        let config = try ModelConfig.parse(configuration, path: name)
        try self.init(try config.tied(asStoredIn: table), table, compute: compute)
    }
}
