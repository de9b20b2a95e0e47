// SPDX-License-Identifier: Apache-2.0
/// A model as one that multiplies in another type, over the same weights and adapters.
///
/// - Parameter compute: nil = what `ComputeType.preferred` says.
/// Errors: `.unsupported` for a type that this CPU lacks, or a model that a host runs; `.argument` if the adapters do not
/// fit any more.
public func model(_ model: any Model, computingIn compute: ComputeType?) throws(PruneError) -> any Model {
    if let native = model as? NativeModel {
        return try NativeModel(native.config, native.tensors, source: native.source, compute: compute)
    }
    guard let recovered = model as? RecoveredModel, let native = recovered.base as? NativeModel else {
        throw PruneError(.unsupported, "a host runs the model, which says itself what it multiplies in")
    }
    return try RecoveredModel(
        NativeModel(native.config, native.tensors, source: native.source, compute: compute), recovered.adapters)
}
