// SPDX-License-Identifier: Apache-2.0
extension NativeModel {
    /// The model with other weights in the places of some: merged, narrowed, trained or shared ones. All others are those of
    /// this model, wherever they lie, so that the new model costs what `own` costs. It can be exported wherever this one
    /// can.
    ///
    /// - Parameters:
    ///   - own: named as in the checkpoint, of the shapes that `plans` ask for. `TensorMemory` holds them.
    ///   - sublayers: the plans of the new model's sublayers, where some have become narrower; nil = as they were.
    ///   - family: the same plans as transformers has them, of a model that is stored otherwise.
    ///   - edit: what gives the weights, if an edit does.
    ///   - sharing: which of `own` are stored as deltas. What was a delta before, and is not among `own`, stays one.
    ///   - untied: whether the head, which is among `own`, is no longer the embedding.
    /// Errors: `.format` for a tensor of another shape; `.unsupported` for its element type.
    func replacing(
        _ own: [StoredTensor], sublayers: [SublayerPlan]? = nil, family: [SublayerPlan]? = nil, edit: Edit? = nil,
        untied: Bool = false, sharing: [String: SharedTensor] = [:]
    ) throws(PruneError) -> NativeModel {
        var config = config
        if let sublayers { config.replace(sublayers) }
        var source = source
        if let family { source?.family?.replace(family) }
        if untied {
            config.tiesEmbeddings = false
            source?.family?.tiesEmbeddings = false
        }
        var kept = self.sharing.without(Set(own.map(\.name)))
        kept.tensors.merge(sharing) { $1 }
        return try NativeModel(
            config, tensors.replacing(own), source: source, edits: edits + (edit.map { [$0] } ?? []), compute: compute,
            sharing: kept)
    }
}
