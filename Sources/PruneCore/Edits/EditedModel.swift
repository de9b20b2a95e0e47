// SPDX-License-Identifier: Apache-2.0
/// A model after some edits. What they change takes memory of its own, in the type in which it is stored (quantised weights
/// become bf16, but for whole rows or blocks that are left of them); all else is shared with `model`, which stays as it is.
///
/// Errors: `.unsupported` if the model's weights are not the engine's own, or it has adapters, which were made for its weights
/// as they are; `.argument` for an edit of what the model does not have; `.unsupported` for one that does not fit its plans;
/// `.nonFinite` for a result that its type cannot hold; `.memory`; `.file` if a file of the weights changed.
public func editedModel(_ model: any Model, by edits: [Edit]) throws(PruneError) -> any Model {
    guard let native = model as? NativeModel else {
        throw PruneError(
            .unsupported,
            "the weights of this model cannot be edited: a host runs it, or it has adapters, which were made for its weights as they are; open its checkpoint from files, edit that, and make adapters then"
        )
    }
    return try native.edited(by: edits)
}

extension NativeModel {
    /// The model after some edits, each applied to what those before it made. Errors: as above.
    func edited(by edits: [Edit]) throws(PruneError) -> NativeModel {
        var model = self
        for edit in edits {
            switch edit {
            case .merge(let merge): model = try model.merged(merge)
            case .narrow(let narrowing): model = try model.narrowed(narrowing)
            }
        }
        return model
    }
}
