// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// A sequence under way.
private struct WrittenSequence {
    let prompt: Int
    let cache: KeyValueCache
    /// New tokens at most, and why it ends there.
    let limit: Int
    let limitReason: EndReason
    var random: RandomSource
    /// What the cache does not hold yet: the prompt, then the last token.
    var next: [Int32]
    var written = 0
}

/// A token that was chosen for a sequence, and the state of its random numbers after that.
private struct ChosenToken {
    let token: Int32
    let loss: Float
    let random: RandomSource
}

/// One call of `generate`. Used by the thread that makes the call.
final class GenerationRun {
    private(set) var result: Generation
    private let model: any Model
    private let writer: TextWriter
    private let prompts: TokenData
    private let mask: KeepMask
    private let options: GenerationOptions
    private let tell: ((GeneratedToken) -> TokenAnswer)?
    private let meter: ProgressMeter
    /// New tokens of each prompt at most.
    private let limits: [Int]

    init(
        _ model: any Model, _ prompts: TokenData, _ mask: KeepMask, _ options: GenerationOptions,
        _ tell: ((GeneratedToken) -> TokenAnswer)?, _ progress: ProgressMeter.Listener?
    ) throws(PruneError) {
        guard let writer = TextWriter(model) else {
            throw PruneError(.unsupported, "this model's layers are run by its host, which generates text itself")
        }
        let count = prompts.sequenceCount
        try model.shape.check(mask)
        try TokenBatch(prompts, 0..<count).check(vocabulary: model.shape.vocabularySize)
        if let wrong = options.stopTokens.sorted().first(where: { $0 < 0 || $0 >= model.shape.vocabularySize }) {
            throw PruneError(
                .argument, "stop token \(wrong) is outside the vocabulary of \(model.shape.vocabularySize)")
        }
        try Memory.require(
            count.times(clamping: 256).plus(clamping: prompts.tokens.count.times(clamping: 8)), for: "\(count) prompts",
            "give fewer at a time")
        let context = model.shape.contextLength
        limits = (0..<count).map { prompt in
            max(0, min(options.mostNewTokens, context - (prompts.offsets[prompt + 1] - prompts.offsets[prompt])))
        }
        // Cannot overflow: memory holds fewer than 2^38 prompts, and a limit is at most 2^24.
        meter = ProgressMeter(stage: "generate", total: limits.reduce(0, +), listener: progress)
        result = Generation(
            tokens: Array(repeating: [], count: count), losses: Array(repeating: [], count: count),
            ends: Array(repeating: .context, count: count))
        self.model = model
        self.writer = writer
        self.prompts = prompts
        self.mask = mask
        self.options = options
        self.tell = tell
    }

    /// Writes everything: as sequences end, prompts that wait take their places.
    func finish() throws(PruneError) {
        let most = options.batchSequences ?? usualBatch
        var waiting = limits.indices.filter { limits[$0] > 0 }[...]
        var active: [WrittenSequence] = []
        while !waiting.isEmpty || !active.isEmpty {
            let fresh = takePrompts(from: &waiting, atMost: most - active.count)
            let begin = ProgressMeter.now()
            if fresh.isEmpty {
                active = try step(active, beside: [])
                result.decodeSeconds += ProgressMeter.now() - begin
            } else {
                result.promptTokens += fresh.reduce(0) { $0 + $1.next.count }
                active += try step(fresh, beside: active)
                result.promptSeconds += ProgressMeter.now() - begin
            }
        }
    }

    /// As many prompts as usual, but no more than fit into a quarter of the memory that is free.
    private var usualBatch: Int {
        let longest = limits.indices.map { prompts.offsets[$0 + 1] - prompts.offsets[$0] + limits[$0] }.max() ?? 1
        let bytes = KeyValueCache.bytes(
            writer.engine.config, under: writer.ownSublayers(under: mask), tokens: longest)
        return max(1, min(GenerationOptions.usualBatch, Memory.free / 4 / max(1, bytes)))
    }

    /// The next prompts that are computed together: at least one, if one waits and there is a place for it.
    private func takePrompts(from waiting: inout ArraySlice<Int>, atMost most: Int) -> [WrittenSequence] {
        var taken: [WrittenSequence] = []
        var tokens = 0
        while taken.count < most, let prompt = waiting.first {
            let own = prompts.tokens[prompts.offsets[prompt]..<prompts.offsets[prompt + 1]]
            tokens += own.count
            if tokens > options.batchTokens, !taken.isEmpty { break }
            waiting.removeFirst()
            let limit = limits[prompt]
            taken.append(
                WrittenSequence(
                    prompt: prompt, cache: KeyValueCache(writer.engine.config, expected: own.count + limit),
                    limit: limit,
                    limitReason: limit < options.mostNewTokens ? .context : .length,
                    random: RandomSource(seed: options.seed, stream: UInt64(prompt)), next: Array(own)))
        }
        return taken
    }

    /// Adds a token to each of some sequences. Returns those that continue.
    ///
    /// - Parameter others: sequences whose caches are held meanwhile.
    private func step(
        _ sequences: [WrittenSequence], beside others: [WrittenSequence]
    ) throws(PruneError) -> [WrittenSequence] {
        // Told of no progress, but asked whether to stop: a long prompt takes long.
        let logits = try writer.advance(
            sequences.map(\.cache), by: sequences.map(\.next), under: mask
        ) {
            (_) throws(PruneError) in
            try meter.advance(by: 0)
        } pause: { () throws(PruneError) in
            try self.meter.advance(by: 0)
        }
        let held = (sequences + others).reduce(0) { $0 + $1.cache.bytes }
        result.peakCacheBytes = max(result.peakCacheBytes, held)
        let chosen = try choose(for: sequences, from: logits)
        var remaining: [WrittenSequence] = []
        for (sequence, choice) in zip(sequences, chosen) {
            var sequence = sequence
            sequence.random = choice.random
            sequence.next = [choice.token]
            sequence.written += 1
            if let end = try add(choice, to: sequence) {
                result.ends[sequence.prompt] = end
                try meter.advance(by: 1 + sequence.limit - sequence.written)
            } else {
                remaining.append(sequence)
                try meter.advance()
            }
        }
        return remaining
    }

    /// Notes a token and tells it. Returns why the sequence ends with it, if it does.
    private func add(_ choice: ChosenToken, to sequence: WrittenSequence) throws(PruneError) -> EndReason? {
        try result.tokens[sequence.prompt].makeRoom(for: 1, of: "new tokens", "write fewer")
        try result.losses[sequence.prompt].makeRoom(for: 1, of: "new tokens", "write fewer")
        result.tokens[sequence.prompt].append(choice.token)
        result.losses[sequence.prompt].append(choice.loss)
        let end: EndReason? =
            options.stopTokens.contains(choice.token)
            ? .stop : sequence.written >= sequence.limit ? sequence.limitReason : nil
        guard let tell else { return end }
        let told = GeneratedToken(
            prompt: sequence.prompt, index: sequence.written - 1, token: choice.token, loss: choice.loss, end: end)
        switch tell(told) {
        case .goOn: return end
        case .endSequence: return end ?? .callback
        case .cancel:
            throw PruneError(
                .cancelled,
                "cancelled by the token callback at token \(sequence.written - 1) of prompt \(sequence.prompt)")
        }
    }

    /// The next token of each sequence, from a row of logits each, on all threads.
    private func choose(
        for sequences: [WrittenSequence], from logits: FloatBuffer
    ) throws(PruneError) -> [ChosenToken] {
        let entries = model.shape.vocabularySize
        let sampling = options.sampling
        // Of each thread the places of tokens that may be drawn, and their weights.
        try Memory.require(
            min(ThreadPool.threads, sequences.count).times(clamping: 64 * entries),
            for: "draws among \(entries) tokens",
            "use fewer threads")
        // Sampling uses the logits up, and the loss needs that of the token which was chosen.
        let copies = sampling.temperature == 0 ? logits : try writer.engine.scratch.buffer(logits.count)
        let chosen = mapOnAllThreads(Array(sequences.indices)) { index -> ChosenToken? in
            // Safe: a row is worked on by one thread alone, and both buffers hold one for each sequence.
            let row = logits.pointer + index * entries
            guard Kernels.sumOfAbsolutes(row, entries).isFinite else { return nil }
            let top = Kernels.maximum(row, entries)
            let logSum = log(Double(Kernels.sumOfExponentials(row, shift: top, entries)))
            let copy = copies.pointer + index * entries
            if copy != row { copy.update(from: row, count: entries) }
            var span = UnsafeMutableBufferPointer(start: copy, count: entries).mutableSpan
            var random = sequences[index].random
            let token = sampling.choose(from: &span, &random)
            let loss = Float(logSum - Double(row[token] - top))
            return ChosenToken(token: Int32(token), loss: max(0, loss), random: random)
        }
        guard let chosen else { throw try nonFiniteError(sequences, logits) }
        return chosen
    }

    /// Names the place where the first sequence whose logits are not finite stops being so, by computing it again.
    private func nonFiniteError(
        _ sequences: [WrittenSequence], _ logits: FloatBuffer
    ) throws(PruneError) -> PruneError {
        let entries = model.shape.vocabularySize
        let bad = sequences.indices.first {
            !Kernels.sumOfAbsolutes(logits.pointer + $0 * entries, entries).isFinite
        }
        guard let bad else { return PruneError(.internal, "logits were not finite, and then they were") }
        let prompt = sequences[bad].prompt
        let whole = prompts.tokens[prompts.offsets[prompt]..<prompts.offsets[prompt + 1]] + result.tokens[prompt]
        let data = try TokenData(tokens: Array(whole), lengths: [whole.count], weights: nil)
        let error = try model.nonFiniteError(in: TokenBatch(data, 0..<1), under: mask)
        let written = result.tokens[prompt].count
        return PruneError(.nonFinite, "prompt \(prompt), continued by \(written) tokens: \(error.message)")
    }
}
