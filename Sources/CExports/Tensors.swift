public import CPruneCore
import PruneCore

@c @implementation
public func prune_model_from_tensors(
    _ config_json: UnsafePointer<CChar>!, _ tensors: UnsafePointer<prune_tensor>!, _ n_tensors: Int,
    _ options: UnsafePointer<prune_model_options>!, _ out_model: UnsafeMutablePointer<OpaquePointer?>!
) -> prune_status {
    out_model?.pointee = nil
    return guarded { () throws(PruneError) in throw PruneError(.unsupported, "tensors of the host cannot be taken yet") }
}

@c @implementation
public func prune_model_from_dlpack(
    _ config_json: UnsafePointer<CChar>!, _ names: UnsafePointer<UnsafePointer<CChar>?>!,
    _ tensors: UnsafePointer<OpaquePointer?>!, _ n_tensors: Int, _ options: UnsafePointer<prune_model_options>!,
    _ out_model: UnsafeMutablePointer<OpaquePointer?>!
) -> prune_status {
    out_model?.pointee = nil
    return guarded { () throws(PruneError) in throw PruneError(.unsupported, "tensors of the host cannot be taken yet") }
}
