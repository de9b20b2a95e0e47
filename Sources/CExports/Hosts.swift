public import CPruneCore
import PruneCore

@c @implementation
public func prune_model_from_host(
    _ host: UnsafePointer<prune_host>!, _ out_model: UnsafeMutablePointer<OpaquePointer?>!
) -> prune_status {
    out_model?.pointee = nil
    return guarded { () throws(PruneError) in throw PruneError(.unsupported, "models of the host cannot be run yet") }
}

@c @implementation
public func prune_host_error_set(_ sentence: UnsafePointer<CChar>!) {}
