// SPDX-License-Identifier: Apache-2.0
/// Everything the engine needs to know of a model, validated.
///
/// All counts are at least 1 and at most those of `Limits`, so that no product of sizes overflows an Int; `headCount` is a
/// multiple of `kvHeadCount`.
public struct ModelConfig: Sendable {
    public let architecture: Architecture
    public let blockCount: Int
    /// Width of the residual stream.
    public let hiddenSize: Int
    /// Width of what a dense feed-forward computes inside, or of an expert where there is none. The largest, where blocks
    /// have widths of their own.
    public internal(set) var feedForwardSize: Int
    /// Query heads.
    public let headCount: Int
    /// Key and value heads; each serves headCount / kvHeadCount query heads.
    public let kvHeadCount: Int
    /// Width of one head. headCount * headSize need not be hiddenSize.
    public let headSize: Int
    public let vocabularySize: Int
    /// Positions that the model was made for.
    public let contextLength: Int
    /// Whether the head is the embedding matrix.
    public internal(set) var tiesEmbeddings: Bool
    let embedding: EmbeddingPlan
    /// 2 * blockCount: attention and feed-forward of each block.
    var sublayers: [SublayerPlan]
    let head: HeadPlan
    /// Sublayers that are no part of the model; their plans say what they were, and nothing of them is stored but the norm
    /// of the sum.
    var absent = AbsentSublayers.none

    /// Bytes of config.json at most.
    static let sizeLimit = 16 << 20

    /// Far beyond any model, and small enough: the bytes of all parameters as fp32 stay below 2^60.
    enum Limits {
        static let blocks = 1 << 12
        /// Of hiddenSize, and of headCount * headSize.
        static let width = 1 << 20
        static let feedForward = 1 << 22
        static let vocabulary = 1 << 24
        static let context = 1 << 31
        static let experts = 1 << 12
        /// Of experts, or of norms of single heads, in all blocks: each has plans and names of its own.
        static let parts = 1 << 16
    }
}

extension ModelConfig {
    /// Reads config.json.
    ///
    /// Keys that are missing stand for what transformers takes them to be; sizes must be there. Files of pruned models say
    /// what is missing: see `PrunedConfig`.
    /// - Parameter path: what error texts call the file.
    /// Errors: `.format`, naming the key, if one is missing, of the wrong type or out of range, or two contradict;
    /// `.unsupported`, naming key and value, for what this version does not compute.
    static func parse(_ json: [UInt8], path: String) throws(PruneError) -> ModelConfig {
        let pruned = try PrunedConfig(try ConfigObject.parse(json, path: path))
        let architecture = try Architecture.named(in: pruned.whole)
        return try read(
            pruned.whole, as: architecture, feedForwardSizes: pruned.feedForwardSizes
        ) { (sublayers, width) throws(PruneError) in
            try pruned.absent(architecture, sublayers, hiddenSize: width)
        }
    }

    /// The same by a row that is known, of a model that lacks what is said. Errors: as above.
    ///
    /// - Parameter feedForwardSizes: by block, of those that have a width of their own.
    static func parse(
        _ json: [UInt8], path: String, as architecture: Architecture, feedForwardSizes: [Int: Int],
        absent: AbsentSublayers
    ) throws(PruneError) -> ModelConfig {
        let file = try ConfigObject.parse(json, path: path)
        // The names are read, so that a key that only they are is no unknown one.
        _ = (file.value("architectures"), file.value("model_type"))
        return try read(file, as: architecture, feedForwardSizes: feedForwardSizes) { _, _ in absent }
    }

    /// - Parameter absent: given the plans of all sublayers and the width of the residual stream.
    private static func read(
        _ file: ConfigObject, as architecture: Architecture, feedForwardSizes: [Int: Int],
        absent: ([SublayerPlan], Int) throws(PruneError) -> AbsentSublayers
    ) throws(PruneError) -> ModelConfig {
        try ConfigKeys.refuseQuantised(file)
        let keys = architecture.keys
        let heads = try Heads.read(file, architecture)
        let contextLength =
            try file.optionalCount(keys.contextLength, limit: Limits.context) ?? keys.missingContextLength
        let reader = try PlanReader(
            file, architecture, heads, blockCount: try file.count(keys.blockCount, limit: Limits.blocks),
            contextLength: contextLength, feedForwardSizes: feedForwardSizes)
        var sublayers: [SublayerPlan] = []
        for block in 0..<reader.blockCount {
            sublayers.append(try reader.attention(block: block))
            sublayers.append(try reader.feedForward(block: block))
        }
        let config = ModelConfig(
            architecture: architecture,
            blockCount: reader.blockCount,
            hiddenSize: heads.hiddenSize,
            feedForwardSize: try reader.feedForwardSize(),
            headCount: heads.queryCount,
            kvHeadCount: heads.keyValueCount,
            headSize: heads.size,
            vocabularySize: try file.count(keys.vocabularySize, limit: Limits.vocabulary),
            contextLength: contextLength,
            tiesEmbeddings: try architecture.head.isTied.read(file),
            embedding: try reader.embedding(),
            sublayers: sublayers,
            head: try reader.head(),
            absent: try absent(sublayers, heads.hiddenSize))
        // Last, since what was read is no fault.
        try ConfigKeys.check(file)
        return config
    }

    /// Other plans in the places of the sublayers': as many, of the same kinds.
    mutating func replace(_ plans: [SublayerPlan]) {
        sublayers = plans
        let widths = plans.indices.compactMap { index -> Int? in
            guard !absent.places.contains(index), case .feedForward(let plan) = plans[index].update else { return nil }
            return plan.down.inputs
        }
        if let widest = widths.max() { feedForwardSize = widest }
    }

    /// The window of a block's attention: tokens that a query sees at most, itself included; nil = all before it.
    func window(ofBlock block: Int) -> Int? { sublayers[2 * block].window }
}
