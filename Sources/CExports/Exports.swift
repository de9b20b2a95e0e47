public import CPruneCore
import PruneCore

@c @implementation
public func prune_model_export(
    _ model: OpaquePointer!, _ keep: UnsafePointer<UInt8>!, _ keep_count: Int, _ adapters: OpaquePointer!,
    _ directory: UnsafePointer<CChar>!, _ options: UnsafePointer<prune_export_options>!
) -> prune_status { guarded { () throws(PruneError) in throw PruneError(.unsupported, "models cannot be exported yet") } }
