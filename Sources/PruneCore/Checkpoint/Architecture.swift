// SPDX-License-Identifier: Apache-2.0
/// The facts of an architecture that differ between model families: a table of names and switches, not a class per
/// model.
///
/// All of them are pre-norm decoders with RMSNorm, rotary positions, grouped-query attention and a gated feed-forward.
/// Source of each row: `configuration_*.py` and `modeling_*.py` of the family in Hugging Face transformers 5.
public struct Architecture: Sendable {
    /// The name that config.json gives under `architectures`, such as "LlamaForCausalLM".
    public let name: String
    /// The name that config.json gives under `model_type`.
    let modelType: String
    let names: TensorNames
    let attentionBias: AttentionBias
    /// Whether `mlp_bias` of config.json says that gate, up and down have biases; they have none otherwise.
    let declaresFeedForwardBias: Bool
    /// Whether each head of query and key is normalised, before the rotary embedding.
    let hasQueryKeyNorm: Bool
    let windowRule: WindowRule
    /// What keys that config.json leaves out stand for.
    let defaults: Defaults

    /// Which projections of attention have a bias.
    enum AttentionBias: Sendable {
        case none
        /// Query, key and value, whatever config.json says.
        case queryKeyValue
        /// Query, key, value and output, if `attention_bias` of config.json is true.
        case declared
    }

    /// How sliding windows are declared.
    enum WindowRule: Sendable {
        /// There are none.
        case none
        /// `sliding_window` holds for every block; null = none.
        case everyBlock
        /// Only if `use_sliding_window` is true: `sliding_window` holds for the blocks that `layer_types` calls
        /// "sliding_attention" or, without that list, for those from `max_window_layers` on.
        case someBlocks
    }

    struct Defaults: Sendable {
        let contextLength: Int
        /// nil = as many as query heads.
        let kvHeadCount: Int?
        /// nil = hidden size / query heads.
        let headSize: Int?
    }

    /// The architectures that this version computes.
    static let supported: [Architecture] = [
        Architecture(
            name: "LlamaForCausalLM", modelType: "llama", names: .llama,
            attentionBias: .declared, declaresFeedForwardBias: true, hasQueryKeyNorm: false, windowRule: .none,
            defaults: Defaults(contextLength: 2048, kvHeadCount: nil, headSize: nil)),
        Architecture(
            name: "MistralForCausalLM", modelType: "mistral", names: .llama,
            attentionBias: .none, declaresFeedForwardBias: false, hasQueryKeyNorm: false, windowRule: .everyBlock,
            defaults: Defaults(contextLength: 131_072, kvHeadCount: 8, headSize: nil)),
        Architecture(
            name: "Qwen2ForCausalLM", modelType: "qwen2", names: .llama,
            attentionBias: .queryKeyValue, declaresFeedForwardBias: false, hasQueryKeyNorm: false,
            windowRule: .someBlocks,
            defaults: Defaults(contextLength: 32_768, kvHeadCount: 32, headSize: nil)),
        Architecture(
            name: "Qwen3ForCausalLM", modelType: "qwen3", names: .llama,
            attentionBias: .declared, declaresFeedForwardBias: false, hasQueryKeyNorm: true, windowRule: .someBlocks,
            defaults: Defaults(contextLength: 32_768, kvHeadCount: 32, headSize: 128)),
    ]
}

extension Architecture {
    /// The name of the embedding, a matrix [vocabularySize, hiddenSize].
    var embedding: String { names.embedding + ".weight" }
    /// The name of the last norm's gain, a vector [hiddenSize].
    var finalNorm: String { names.finalNorm + ".weight" }
    /// The name of the head, a matrix [vocabularySize, hiddenSize]; usually not stored if it is the embedding.
    var head: String { names.head + ".weight" }

    /// The name of a weight of a block: a matrix [outputs, inputs], or the vector of a norm's gain.
    func weight(_ role: TensorRole, block: Int) -> String {
        names.path(of: role, block: block) + ".weight"
    }

    /// The name of the bias that goes with a weight: a vector [outputs].
    func bias(_ role: TensorRole, block: Int) -> String {
        names.path(of: role, block: block) + ".bias"
    }

    /// The architecture that config.json names: by `architectures` or, without it, by `model_type`.
    ///
    /// Errors: `.unsupported`, with the names that are supported; `.format` if neither is there, or they contradict.
    static func named(in config: ConfigObject) throws(PruneError) -> Architecture {
        let modelType = try config.optionalString("model_type")
        let found: Architecture?
        let key: String
        let named: String
        if let name = try config.optionalStrings("architectures")?.first {
            (key, named) = ("architectures", name)
            found = supported.first { $0.name == name }
        } else if let modelType {
            (key, named) = ("model_type", modelType)
            found = supported.first { $0.modelType == modelType }
        } else {
            throw config.fault(
                .format, "architectures", "is missing, and so is model_type; one must name the model's family")
        }
        guard let found else {
            let names = supported.map(\.name).joined(separator: ", ")
            let isOurs = named.hasPrefix("PruneCore") || named == "DeciLMForCausalLM"
            throw config.fault(
                .unsupported, key,
                isOurs
                    ? "names \(named.quoted), an exported model; open the model that it was made of, with its mask"
                    : "names \(named.quoted); supported are \(names). Others run in PyTorch: prunecore.torch.wrap(model)"
            )
        }
        if let modelType, modelType != found.modelType {
            throw config.fault(
                .format, "model_type",
                "is \(modelType.quoted), but architectures names \(found.name), "
                    + "whose type is \(found.modelType.quoted)")
        }
        return found
    }
}
