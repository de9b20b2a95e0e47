// SPDX-License-Identifier: Apache-2.0
public import CPruneCore
import PruneCore

/// The rows of a caller, checked but not read. They borrow the caller's memory for the length of the call.
private func stateRows(_ pointer: UnsafePointer<prune_rows>?, _ name: String) throws(PruneError) -> StateRows {
    let rows = try need(pointer, name).pointee
    try checkReserved(rows.reserved, name)
    return try StateRows(
        rows.data, try elementType(rows.element_type, "\(name).element_type"), count: Int(rows.n_rows),
        width: Int(rows.width), rowStride: Int(rows.row_stride == 0 ? rows.width : rows.row_stride),
        columnStride: Int(rows.column_stride == 0 ? 1 : rows.column_stride), name: name)
}

@c @implementation
public func prune_statistics_update(
    _ statistics: OpaquePointer!, _ granularity: prune_granularity, _ unit: Int64, _ before: UnsafePointer<prune_rows>!,
    _ after: UnsafePointer<prune_rows>!
) -> prune_status {
    guarded { () throws(PruneError) in
        let target = try HandleTable.object(statistics, StatisticsHandle.self, "statistics")
        try target.update(
            try choice(granularity, "granularity"), unit: Int(unit), before: try stateRows(before, "before"),
            after: try stateRows(after, "after"))
    }
}
