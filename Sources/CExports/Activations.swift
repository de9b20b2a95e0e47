public import CPruneCore
import PruneCore

@c @implementation
public func prune_statistics_update(
    _ statistics: OpaquePointer!, _ granularity: prune_granularity, _ unit: Int64, _ before: UnsafePointer<prune_rows>!,
    _ after: UnsafePointer<prune_rows>!
) -> prune_status {
    guarded { () throws(PruneError) in throw PruneError(.unsupported, "rows of the host cannot be added yet") }
}
