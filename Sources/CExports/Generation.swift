// SPDX-License-Identifier: Apache-2.0
public import CPruneCore
import PruneCore

private let optionsSize = MemoryLayout<prune_generate_options>.size

/// What a `prune_generation` stands for.
private final class GenerationHandle: Sendable {
    let generation: Generation

    init(_ generation: Generation) { self.generation = generation }
}

private func read(_ given: prune_generate_options) throws(PruneError) -> GenerationOptions {
    try checkReserved(given.reserved, "options")
    let sampling = try Sampling(
        temperature: given.temperature, topK: chosen(given.top_k), topP: chosen(given.top_p) ?? 1)
    return try GenerationOptions(
        mostNewTokens: chosen(given.max_new_tokens) ?? GenerationOptions.usualLength,
        sampling: sampling, seed: given.seed,
        stopTokens: try array(given.stop_tokens, given.n_stop_tokens, "options.stop_tokens"),
        batchSequences: chosen(given.batch_sequences),
        batchTokens: try batchTokens(given.batch_tokens))
}

/// The caller's token callback; nil if there is none.
private func teller(_ options: prune_generate_options) -> ((GeneratedToken) -> TokenAnswer)? {
    guard let callback = options.on_token else { return nil }
    return { token in
        var report = prune_token(
            struct_size: UInt32(MemoryLayout<prune_token>.size), token_id: token.token, prompt: Int64(token.prompt),
            index: Int64(token.index), loss: token.loss, end: token.end?.rawValue ?? Int32(PRUNE_END_NONE))
        return switch Int(callback(options.user_data, &report)) {
        case PRUNE_TOKEN_CONTINUE: .goOn
        case PRUNE_TOKEN_END_SEQUENCE: .endSequence
        default: .cancel
        }
    }
}

@c @implementation
public func prune_model_generate(
    _ model: OpaquePointer!, _ prompts: OpaquePointer!, _ keep: UnsafePointer<UInt8>!, _ n_keep: Int,
    _ options: UnsafePointer<prune_generate_options>!, _ out_generation: UnsafeMutablePointer<OpaquePointer?>!
) -> prune_status {
    out_generation?.pointee = nil
    return guarded { () throws(PruneError) in
        let handle = try HandleTable.object(model, ModelHandle.self, "model")
        let prompts = try tokens(prompts, "prompts")
        let out = try need(out_generation, "out_generation")
        let given =
            try readStruct(options, prune_generate_options(), least: optionsSize, "options")
            ?? prune_generate_options()
        let asked = try read(given)
        let mask = try mask(keep, n_keep, or: handle)
        let made = try generate(
            handle.model, after: prompts, under: mask, asked, tell: teller(given),
            progress: listener(given.progress, given.user_data))
        out.pointee = try HandleTable.add(GenerationHandle(made))
    }
}

@c @implementation
public func prune_generation_release(_ generation: OpaquePointer!) {
    HandleTable.release(generation, GenerationHandle.self)
}

@c @implementation
public func prune_generation_info(
    _ generation: OpaquePointer!, _ out_summary: UnsafeMutablePointer<prune_generation_summary>!
) -> prune_status {
    guarded { () throws(PruneError) in
        let made = try HandleTable.object(generation, GenerationHandle.self, "generation").generation
        let summary = prune_generation_summary(
            struct_size: 0, reserved: 0, n_sequences: made.tokens.count, prompt_tokens: Int64(made.promptTokens),
            new_tokens: Int64(made.newTokens), prompt_seconds: made.promptSeconds, decode_seconds: made.decodeSeconds,
            kv_bytes_peak: Int64(made.peakCacheBytes))
        try writeStruct(summary, to: out_summary, least: MemoryLayout<prune_generation_summary>.size, "out_summary")
    }
}

@c @implementation
public func prune_generation_sequence(
    _ generation: OpaquePointer!, _ prompt: Int64, _ out_tokens: UnsafeMutablePointer<Int32>!,
    _ out_losses: UnsafeMutablePointer<Float>!, _ capacity: Int, _ out_count: UnsafeMutablePointer<Int>!,
    _ out_end: UnsafeMutablePointer<Int32>!
) -> prune_status {
    guarded { () throws(PruneError) in
        let made = try HandleTable.object(generation, GenerationHandle.self, "generation").generation
        let index = Int(clamping: prompt)
        guard made.tokens.indices.contains(index) else {
            throw PruneError(.argument, "prompt is \(prompt); there are \(made.tokens.count), counted from 0")
        }
        out_end?.pointee = made.ends[index].rawValue
        let tokens = made.tokens[index]
        // Nothing written needs no room: a caller that asks for the count of an empty sequence has it all.
        if tokens.isEmpty {
            out_count?.pointee = 0
            return
        }
        let out = try room(for: tokens.count, in: out_tokens, capacity, out_count, "out_tokens")
        out.update(from: tokens, count: tokens.count)
        out_losses?.update(from: made.losses[index], count: tokens.count)
    }
}
