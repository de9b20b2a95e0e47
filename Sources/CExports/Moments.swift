// SPDX-License-Identifier: Apache-2.0
public import CPruneCore
import PruneCore

/// What a `prune_moments` stands for.
private final class MomentsHandle: Sendable {
    /// Those that the moments were made with.
    let options: AdapterOptions
    /// Hidden size of their model.
    let width: Int
    private let moments: Shared<RecoveryMoments>

    init(_ moments: RecoveryMoments, _ options: AdapterOptions, width: Int) {
        self.options = options
        self.width = width
        self.moments = Shared(moments)
    }

    /// Errors: those of `Lock.withLock`, here and below.
    var current: RecoveryMoments {
        get throws(PruneError) { try moments.with { $0 } }
    }

    func merge(_ other: RecoveryMoments) throws(PruneError) {
        try moments.with { (moments) throws(PruneError) in try moments.merge(other) }
    }
}

@c @implementation
public func prune_moments_create(
    _ model: OpaquePointer!, _ keep: UnsafePointer<UInt8>!, _ n_keep: Int,
    _ options: UnsafePointer<prune_recover_options>!, _ out_moments: UnsafeMutablePointer<OpaquePointer?>!
) -> prune_status {
    out_moments?.pointee = nil
    return guarded { () throws(PruneError) in
        let handle = try HandleTable.object(model, ModelHandle.self, "model")
        let out = try need(out_moments, "out_moments")
        let width = handle.model.shape.hiddenSize
        let asked = try recoverOptions(options, width: width).adapters
        let moments = try RecoveryMoments(handle.model, under: try mask(keep, n_keep, or: handle), asked)
        out.pointee = try HandleTable.add(MomentsHandle(moments, asked, width: width))
    }
}

@c @implementation
public func prune_moments_release(_ moments: OpaquePointer!) { HandleTable.release(moments, MomentsHandle.self) }

@c @implementation
public func prune_moments_collect(
    _ moments: OpaquePointer!, _ model: OpaquePointer!, _ data: OpaquePointer!,
    _ options: UnsafePointer<prune_evaluate_options>!
) -> prune_status {
    guarded { () throws(PruneError) in
        let target = try HandleTable.object(moments, MomentsHandle.self, "moments")
        let handle = try HandleTable.object(model, ModelHandle.self, "model")
        let data = try tokens(data, "data")
        let options = try evaluateOptions(options)
        // Gathered apart and merged when whole, so that a failure adds nothing.
        var gathered = try RecoveryMoments(handle.model, under: target.current.mask, target.options)
        try gathered.collect(
            handle.model, data, batchTokens: try batchTokens(options.batch_tokens),
            progress: listener(options.progress, options.user_data))
        try target.merge(gathered)
    }
}

@c @implementation
public func prune_moments_merge(_ moments: OpaquePointer!, _ other: OpaquePointer!) -> prune_status {
    guarded { () throws(PruneError) in
        let target = try HandleTable.object(moments, MomentsHandle.self, "moments")
        try target.merge(try HandleTable.object(other, MomentsHandle.self, "other").current)
    }
}

@c @implementation
public func prune_moments_solve(
    _ moments: OpaquePointer!, _ held_out: OpaquePointer!, _ options: UnsafePointer<prune_recover_options>!,
    _ out_adapters: UnsafeMutablePointer<OpaquePointer?>!
) -> prune_status {
    out_adapters?.pointee = nil
    return guarded { () throws(PruneError) in
        let target = try HandleTable.object(moments, MomentsHandle.self, "moments")
        let heldOut = held_out == nil ? nil : try HandleTable.object(held_out, MomentsHandle.self, "held_out").current
        let out = try need(out_adapters, "out_adapters")
        let asked = try recoverOptions(options, width: target.width).adapters
        out.pointee = try HandleTable.add(AdaptersHandle(try target.current.solve(heldOut: heldOut, asked)))
    }
}
