// SPDX-License-Identifier: Apache-2.0
/// config.json of nemotron-nas: a Llama, of which `block_configs` says what each block has.
enum DeciConfig {
    /// What stands in a sublayer's place.
    enum Part {
        case none
        case whole
        /// A matrix with or without bias, behind the sublayer's norm.
        case linear
    }

    struct Block {
        let attention: JSONValue
        let feedForward: JSONValue
    }

    /// What the runtimes would compute otherwise, as the end of a sentence; nil = nothing.
    static func difference(_ model: ModelConfig, besidesBiases biases: Bool) -> String? {
        if let difference = model.differenceFromLlama(besidesBiases: biases) {
            return "\(model.architecture.name) \(difference), and its runtimes compute Llama"
        }
        guard model.headCount * model.headSize == model.hiddenSize else {
            return "heads have \(model.headSize) values, and its runtimes take hidden_size / num_attention_heads"
        }
        return nil
    }

    static func text(
        _ subject: ExportSubject, _ blocks: [Block], attentionBias: Bool, feedForwardBias: Bool
    ) throws(PruneError) -> ConfigText {
        var text = try subject.configText()
        let model = subject.config
        text.set("architectures", .array([.string("DeciLMForCausalLM")]))
        text.set("model_type", .string("nemotron-nas"))
        // Written out: what families take a missing key for is not what the runtimes do.
        text.set("num_key_value_heads", .integer(model.kvHeadCount))
        text.set("max_position_embeddings", .integer(model.contextLength))
        text.set("tie_word_embeddings", .bool(model.tiesEmbeddings))
        if text.value("rms_norm_eps") ?? "null" == "null", let norm = model.sublayers.first?.before {
            text.set("rms_norm_eps", .number(Double(norm.epsilon)))
        }
        text.set("hidden_act", .string("silu"))
        text.set("attention_bias", .bool(attentionBias))
        text.set("mlp_bias", .bool(feedForwardBias))
        for key in ["sliding_window", "layer_types", "head_dim"] { text.remove(key) }
        let written = blocks.map { block in
            "    \(JSONValue.object(["attention": block.attention, "ffn": block.feedForward]).text)"
        }
        text.set("block_configs", written: "[\n" + written.joined(separator: ",\n") + "\n  ]")
        return text
    }

    static func attention(_ part: Part, _ model: ModelConfig) -> JSONValue {
        .object([
            "n_heads_in_group": part == .whole ? .integer(model.headCount / model.kvHeadCount) : .null,
            "no_op": .bool(part == .none), "num_sink_tokens": .null, "replace_with_linear": .bool(part == .linear),
            "sparsify": .null, "unshifted_sink": .bool(false), "use_prefill_window_in_sink_attention": .bool(false),
            "window_length": .null,
        ])
    }
}
