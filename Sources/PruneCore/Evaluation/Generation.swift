// SPDX-License-Identifier: Apache-2.0
/// Why a sequence ended. The raw values are those of `PRUNE_END_*` in `prunecore.h`.
public enum EndReason: Int32, Sendable {
    /// A stop token was written; it is the last one.
    case stop = 1
    /// As many tokens as were asked for.
    case length = 2
    /// The model's context is full.
    case context = 3
    /// The token callback ended it.
    case callback = 4
}

/// How text is generated.
public struct GenerationOptions: Sendable {
    /// New tokens per prompt, if the caller does not say.
    public static let usualLength = 128
    /// Prompts that are continued together, if the caller does not say: enough to read the weights for many at once.
    static let usualBatch = 32

    public let mostNewTokens: Int
    public let sampling: Sampling
    public let seed: UInt64
    public let stopTokens: Set<Int32>
    /// Prompts that are continued together at most; nil = chosen.
    public let batchSequences: Int?
    /// Tokens of prompts that are computed together at most.
    public let batchTokens: Int

    /// Errors: `.argument` if a count is below 1, or `mostNewTokens` beyond the longest sequence.
    public init(
        mostNewTokens: Int = usualLength, sampling: Sampling, seed: UInt64 = 0, stopTokens: [Int32] = [],
        batchSequences: Int? = nil, batchTokens: Int = TokenData.usualBatch
    ) throws(PruneError) {
        guard mostNewTokens >= 1, mostNewTokens <= TokenData.longestSequence else {
            throw PruneError(
                .argument, "max_new_tokens is \(mostNewTokens); it must be 1 to \(TokenData.longestSequence)")
        }
        if let batchSequences, batchSequences < 1 {
            throw PruneError(.argument, "batch_sequences is \(batchSequences); it must be at least 1")
        }
        self.mostNewTokens = mostNewTokens
        self.sampling = sampling
        self.seed = seed
        self.stopTokens = Set(stopTokens)
        self.batchSequences = batchSequences
        self.batchTokens = batchTokens
    }
}

/// A token that was just written.
public struct GeneratedToken: Sendable {
    public let prompt: Int
    /// Its place among the new tokens of its prompt.
    public let index: Int
    public let token: Int32
    /// -log of its probability after the tokens before it, before temperature and truncation, nats.
    public let loss: Float
    /// Why the sequence ends with it; nil = it continues.
    public let end: EndReason?
}

/// What a token callback asks for.
public enum TokenAnswer: Sendable {
    case goOn
    /// This sequence ends.
    case endSequence
    /// Everything ends, with `.cancelled`.
    case cancel
}

/// What a model wrote after some prompts.
public struct Generation: Sendable {
    /// New tokens, one list per prompt, and the loss of each.
    public internal(set) var tokens: [[Int32]]
    public internal(set) var losses: [[Float]]
    public internal(set) var ends: [EndReason]
    /// Tokens of prompts that were computed.
    public internal(set) var promptTokens = 0
    /// Seconds for the prompts, their first new tokens included, and for all further tokens.
    public internal(set) var promptSeconds = 0.0
    public internal(set) var decodeSeconds = 0.0
    /// Bytes that the caches of all sequences under way held at once, at most.
    public internal(set) var peakCacheBytes = 0

    public var newTokens: Int { tokens.reduce(0) { $0 + $1.count } }
}

/// Continues every sequence of `prompts`.
///
/// Every prompt draws from a stream of random numbers of its own, so that what it becomes depends on the seed and its
/// index, and not on the batches: these round the logits otherwise, and no more.
/// - Parameter tell: told every token, those of one step in the order of their prompts.
/// Errors: `.data` for ids outside the vocabulary; `.argument` for such a stop token; `.nonFinite` naming the layer;
/// `.cancelled`; `.memory`; `.unsupported` if the model's layers are run by its host.
public func generate(
    _ model: any Model, after prompts: TokenData, under mask: KeepMask, _ options: GenerationOptions,
    tell: ((GeneratedToken) -> TokenAnswer)? = nil, progress: ProgressMeter.Listener? = nil
) throws(PruneError) -> Generation {
    let run = try GenerationRun(model, prompts, mask, options, tell, progress)
    try run.finish()
    return run.result
}
