public import CPruneCore
import PruneCore

private let notYet = PruneError(.unsupported, "searches cannot be made yet")

@c @implementation
public func prune_model_times(
    _ model: OpaquePointer!, _ options: UnsafePointer<prune_time_options>!,
    _ out_times: UnsafeMutablePointer<prune_token_time>!, _ capacity: Int, _ out_count: UnsafeMutablePointer<Int>!
) -> prune_status { guarded { () throws(PruneError) in throw notYet } }

@c @implementation
public func prune_search_create(
    _ model: OpaquePointer!, _ options: UnsafePointer<prune_search_options>!,
    _ out_search: UnsafeMutablePointer<OpaquePointer?>!
) -> prune_status { guarded { () throws(PruneError) in throw notYet } }

@c @implementation
public func prune_search_release(_ search: OpaquePointer!) {}

@c @implementation
public func prune_search_ask(
    _ search: OpaquePointer!, _ most: Int, _ out_masks: UnsafeMutablePointer<UInt8>!,
    _ out_count: UnsafeMutablePointer<Int>!, _ out_share: UnsafeMutablePointer<Double>!
) -> prune_status { guarded { () throws(PruneError) in throw notYet } }

@c @implementation
public func prune_search_tell(
    _ search: OpaquePointer!, _ masks: UnsafePointer<UInt8>!, _ damages: UnsafePointer<Double>!, _ n: Int
) -> prune_status { guarded { () throws(PruneError) in throw notYet } }

@c @implementation
public func prune_search_info(
    _ search: OpaquePointer!, _ out_state: UnsafeMutablePointer<prune_search_state>!
) -> prune_status { guarded { () throws(PruneError) in throw notYet } }

@c @implementation
public func prune_search_mask(
    _ search: OpaquePointer!, _ out_keep: UnsafeMutablePointer<UInt8>!, _ capacity: Int,
    _ out_count: UnsafeMutablePointer<Int>!
) -> prune_status { guarded { () throws(PruneError) in throw notYet } }

@c @implementation
public func prune_search_path(
    _ search: OpaquePointer!, _ out_steps: UnsafeMutablePointer<prune_search_step>!,
    _ out_masks: UnsafeMutablePointer<UInt8>!, _ capacity: Int, _ out_count: UnsafeMutablePointer<Int>!
) -> prune_status { guarded { () throws(PruneError) in throw notYet } }

@c @implementation
public func prune_search_save(
    _ search: OpaquePointer!, _ out_bytes: UnsafeMutablePointer<UInt8>!, _ capacity: Int,
    _ out_count: UnsafeMutablePointer<Int>!
) -> prune_status { guarded { () throws(PruneError) in throw notYet } }

@c @implementation
public func prune_search_load(
    _ bytes: UnsafePointer<UInt8>!, _ count: Int, _ out_search: UnsafeMutablePointer<OpaquePointer?>!
) -> prune_status { guarded { () throws(PruneError) in throw notYet } }

@c @implementation
public func prune_model_search(
    _ model: OpaquePointer!, _ data: OpaquePointer!, _ search: OpaquePointer!,
    _ options: UnsafePointer<prune_search_run_options>!
) -> prune_status { guarded { () throws(PruneError) in throw notYet } }
