// SPDX-License-Identifier: Apache-2.0
/// Everything the engine needs to know of a model, validated.
///
/// All counts are at least 1 and at most those of `Limits`, so that no product of sizes overflows an Int;
/// `headCount` is a multiple of `kvHeadCount`, `headSize` is even, and `normEpsilon` is finite and above 0.
public struct ModelConfig: Sendable {
    public let architecture: Architecture
    public let blockCount: Int
    /// Width of the residual stream.
    public let hiddenSize: Int
    /// Width between gate and down.
    public let feedForwardSize: Int
    /// Query heads.
    public let headCount: Int
    /// Key and value heads; each serves headCount / kvHeadCount query heads.
    public let kvHeadCount: Int
    /// Width of one head. headCount * headSize need not be hiddenSize.
    public let headSize: Int
    public let vocabularySize: Int
    /// Positions that the model was made for.
    public let contextLength: Int
    /// Added to the mean square under the root of every RMSNorm.
    public let normEpsilon: Float
    /// Whether the head is the embedding matrix.
    public internal(set) var tiesEmbeddings: Bool
    public let hasQueryKeyValueBias: Bool
    public let hasOutputBias: Bool
    /// Of gate, up and down.
    public let hasFeedForwardBias: Bool
    /// Whether query and key are normalised per head, before the rotary embedding.
    public let hasQueryKeyNorm: Bool
    /// Per block: tokens that a query sees at most, itself included; nil = all before it.
    public let windows: [Int?]
    public let activation: Activation
    public let rotary: RotaryParameters

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
    }
}

extension ModelConfig {
    /// Reads config.json.
    ///
    /// Keys that are missing stand for what transformers takes them to be; sizes must be there.
    /// - Parameter path: what error texts call the file.
    /// Errors: `.format`, naming the key, if one is missing, of the wrong type or out of range, or two contradict;
    /// `.unsupported`, naming key and value, for what this version does not compute.
    static func parse(_ json: [UInt8], path: String) throws(PruneError) -> ModelConfig {
        let file = try ConfigObject.parse(json, path: path)
        let architecture = try Architecture.named(in: file)
        try ConfigKeys.check(file)

        let heads = try Heads.read(file, architecture)
        let blockCount = try file.count("num_hidden_layers", limit: Limits.blocks)
        let contextLength =
            try file.optionalCount("max_position_embeddings", limit: Limits.context)
            ?? architecture.defaults.contextLength
        let declaresAttentionBias = try file.bool("attention_bias", default: false)
        let declaresFeedForwardBias = try file.bool("mlp_bias", default: false)
        return ModelConfig(
            architecture: architecture,
            blockCount: blockCount,
            hiddenSize: heads.hiddenSize,
            feedForwardSize: try file.count("intermediate_size", limit: Limits.feedForward),
            headCount: heads.queryCount,
            kvHeadCount: heads.keyValueCount,
            headSize: heads.size,
            vocabularySize: try file.count("vocab_size", limit: Limits.vocabulary),
            contextLength: contextLength,
            normEpsilon: try readEpsilon(file),
            tiesEmbeddings: try file.bool("tie_word_embeddings", default: false),
            hasQueryKeyValueBias: architecture.attentionBias.ofQueryKeyValue(declared: declaresAttentionBias),
            hasOutputBias: architecture.attentionBias.ofOutput(declared: declaresAttentionBias),
            hasFeedForwardBias: architecture.declaresFeedForwardBias && declaresFeedForwardBias,
            hasQueryKeyNorm: architecture.hasQueryKeyNorm,
            windows: try readWindows(file, architecture, blockCount: blockCount),
            activation: try readActivation(file),
            rotary: try RotaryParameters.read(file, headSize: heads.size, contextLength: contextLength))
    }

    private static func readEpsilon(_ file: ConfigObject) throws(PruneError) -> Float {
        let epsilon = try file.optionalPositive("rms_norm_eps") ?? 1e-6
        guard Float(epsilon) > 0, Float(epsilon).isFinite else {
            throw file.fault(.format, "rms_norm_eps", "is \(epsilon), which a float cannot hold")
        }
        return Float(epsilon)
    }

    private static func readActivation(_ file: ConfigObject) throws(PruneError) -> Activation {
        let name = try file.optionalString("hidden_act") ?? "silu"
        guard let activation = Activation(name: name) else {
            throw file.fault(
                .unsupported, "hidden_act", "is \(name.quoted); supported are silu, gelu and gelu_pytorch_tanh")
        }
        return activation
    }
}

extension Architecture.AttentionBias {
    func ofQueryKeyValue(declared: Bool) -> Bool {
        switch self {
        case .none: false
        case .queryKeyValue: true
        case .declared: declared
        }
    }

    func ofOutput(declared: Bool) -> Bool {
        switch self {
        case .none, .queryKeyValue: false
        case .declared: declared
        }
    }
}
