// SPDX-License-Identifier: Apache-2.0
extension NativeModel {
    /// The model with other weights in the places of some: merged, narrowed, trained or shared ones. All others are those of
    /// this model, wherever they lie, so that the new model costs what `own` costs. It can be exported wherever this one
    /// can.
    ///
    /// - Parameters:
    ///   - own: named as in the checkpoint, of the shapes that `plans` ask for. `TensorMemory` holds them.
    ///   - sublayers: the plans of the new model's sublayers, where some have become narrower; nil = as they were.
    ///   - sharing: which of `own` are stored as deltas. What was a delta before, and is not among `own`, stays one.
    ///   - untied: whether the head, which is among `own`, is no longer the embedding.
    /// Errors: `.format` for a tensor of another shape; `.unsupported` for its element type.
    func replacing(
        _ own: [StoredTensor], sublayers: [SublayerPlan]? = nil, untied: Bool = false,
        sharing: [String: SharedTensor] = [:]
    ) throws(PruneError) -> NativeModel {
        var config = config
        if let sublayers { config.sublayers = sublayers }
        var source = source
        if untied {
            config.tiesEmbeddings = false
            source?.family?.tiesEmbeddings = false
        }
        var kept = self.sharing.without(Set(own.map(\.name)))
        kept.tensors.merge(sharing) { $1 }
        return try NativeModel(config, tensors.replacing(own), source: source, compute: compute, sharing: kept)
    }
}
