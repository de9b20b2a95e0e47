// SPDX-License-Identifier: Apache-2.0
public import CPruneCore
import PruneCore

private let evaluateOptionsSize = MemoryLayout<prune_evaluate_options>.size

/// Options of a caller; defaults for NULL. Errors: `.argument`.
func evaluateOptions(
    _ options: UnsafePointer<prune_evaluate_options>?
) throws(PruneError) -> prune_evaluate_options {
    let options = try readStruct(options, prune_evaluate_options(), least: evaluateOptionsSize, "options")
    try checkReserved(options?.reserved ?? 0, "options")
    return options ?? prune_evaluate_options()
}

@c @implementation
public func prune_model_evaluate(
    _ model: OpaquePointer!, _ data: OpaquePointer!, _ keep_masks: UnsafePointer<UInt8>!, _ n_masks: Int,
    _ n_keep: Int, _ options: UnsafePointer<prune_evaluate_options>!,
    _ out_evaluations: UnsafeMutablePointer<prune_evaluation>!
) -> prune_status {
    guarded { () throws(PruneError) in
        let handle = try HandleTable.object(model, ModelHandle.self, "model")
        let data = try tokens(data, "data")
        let options = try evaluateOptions(options)
        let out = try need(out_evaluations, "out_evaluations")
        let masks = try masks(keep_masks, n_masks, n_keep, handle)
        let results = try evaluate(
            handle.model, data, under: masks, WalkOptions(batchTokens: try batchTokens(options.batch_tokens)),
            progress: listener(options.progress, options.user_data))
        for (index, result) in results.enumerated() {
            out[index] = prune_evaluation(
                loss: result.loss, perplexity: result.perplexity, sequence_perplexity: result.sequencePerplexity,
                weight: result.weight, tokens: Int64(result.tokens), sequences: Int64(result.sequences))
        }
    }
}

/// Rows of masks given by the caller, or the model's mask. Errors: `.argument` for wrong counts or entries.
func masks(
    _ keep: UnsafePointer<UInt8>?, _ count: Int, _ length: Int, _ handle: ModelHandle
) throws(PruneError) -> [KeepMask] {
    guard let keep else {
        guard count == 1, length == 0 else {
            throw PruneError(.argument, "keep_masks is NULL, which goes with n_masks = 1 and n_keep = 0 only")
        }
        return [try handle.currentMask]
    }
    guard length == handle.model.shape.sublayerCount else {
        throw wrongMaskLength(length, handle, "a row of keep_masks")
    }
    guard count >= 1, !count.multipliedReportingOverflow(by: length).overflow else {
        throw PruneError(.argument, "n_masks is \(UInt(bitPattern: count)); it must be at least 1")
    }
    return try rows(keep, count, of: length, "keep_masks") { (row) throws(PruneError) in
        handle.model.shape.present(in: try KeepMask(bytes: row))
    }
}

/// What the calls with one output row per token share: handles, mask, options and room.
private func forTokens(
    _ model: OpaquePointer?, _ data: OpaquePointer?, _ keep: UnsafePointer<UInt8>?, _ keepCount: Int,
    _ options: UnsafePointer<prune_evaluate_options>?, _ out: UnsafeMutablePointer<Float>?, _ capacity: Int,
    _ outCount: UnsafeMutablePointer<Int>?, _ name: String, perToken: (ModelShape) -> Int,
    _ body: (any Model, TokenData, KeepMask, Int, ProgressMeter.Listener?) throws(PruneError) -> FloatBuffer
) -> prune_status {
    guarded { () throws(PruneError) in
        let handle = try HandleTable.object(model, ModelHandle.self, "model")
        let data = try tokens(data, "data")
        let options = try evaluateOptions(options)
        let mask = try mask(keep, keepCount, or: handle)
        let (count, overflow) = data.tokens.count.multipliedReportingOverflow(by: perToken(handle.model.shape))
        guard !overflow else {
            throw PruneError(.argument, "\(name) would have more elements than memory has addresses")
        }
        let out = try room(for: count, in: out, capacity, outCount, name)
        // Made apart and copied when whole, so that a failure leaves the caller's buffer as it was.
        let values = try body(
            handle.model, data, mask, try batchTokens(options.batch_tokens),
            listener(options.progress, options.user_data))
        values.copy(to: out)
    }
}

@c @implementation
public func prune_model_token_losses(
    _ model: OpaquePointer!, _ data: OpaquePointer!, _ keep: UnsafePointer<UInt8>!, _ n_keep: Int,
    _ options: UnsafePointer<prune_evaluate_options>!, _ out_losses: UnsafeMutablePointer<Float>!, _ capacity: Int,
    _ out_count: UnsafeMutablePointer<Int>!
) -> prune_status {
    forTokens(
        model, data, keep, n_keep, options, out_losses, capacity, out_count, "out_losses", perToken: { _ in 1 }
    ) { (model, data, mask, batch, progress) throws(PruneError) in
        try tokenLosses(model, data, under: mask, batchTokens: batch, progress: progress)
    }
}

@c @implementation
public func prune_model_logits(
    _ model: OpaquePointer!, _ data: OpaquePointer!, _ keep: UnsafePointer<UInt8>!, _ n_keep: Int,
    _ options: UnsafePointer<prune_evaluate_options>!, _ out_logits: UnsafeMutablePointer<Float>!, _ capacity: Int,
    _ out_count: UnsafeMutablePointer<Int>!
) -> prune_status {
    forTokens(
        model, data, keep, n_keep, options, out_logits, capacity, out_count, "out_logits",
        perToken: { $0.vocabularySize }
    ) { (model, data, mask, batch, progress) throws(PruneError) in
        try logits(model, data, under: mask, batchTokens: batch, progress: progress)
    }
}

@c @implementation
public func prune_model_hidden_states(
    _ model: OpaquePointer!, _ data: OpaquePointer!, _ keep: UnsafePointer<UInt8>!, _ n_keep: Int,
    _ sublayer: Int64, _ options: UnsafePointer<prune_evaluate_options>!,
    _ out_states: UnsafeMutablePointer<Float>!, _ capacity: Int, _ out_count: UnsafeMutablePointer<Int>!
) -> prune_status {
    forTokens(
        model, data, keep, n_keep, options, out_states, capacity, out_count, "out_states",
        perToken: { $0.hiddenSize }
    ) { (model, data, mask, batch, progress) throws(PruneError) in
        try hiddenStates(
            model, data, under: mask, before: Int(clamping: sublayer), batchTokens: batch, progress: progress)
    }
}
