// SPDX-License-Identifier: Apache-2.0
/// Keys of config.json that would change what a model computes, and that the engine does not compute.
///
/// The rule for a key: it is read, since the family's row names it; or it is in this table, and refused unless its value
/// says that nothing changes; or the family's own code in transformers does not read it either, as `torch_dtype`,
/// `use_cache`, token ids, dropouts and the notes that tools leave. A test reads that code, with a table of the keys that are
/// proven harmless, and fails for one that it reads and that is neither read here, nor refused, nor in that table.
enum ConfigKeys {
    /// What a refused key may be all the same: then it changes nothing.
    private enum Neutral {
        /// Missing or null alone.
        case nothing
        /// An empty list or object.
        case empty
        case bool(Bool)
        case number(Double)

        func allows(_ value: JSONValue) -> Bool {
            switch (self, value) {
            case (.empty, .array(let elements)): elements.isEmpty
            case (.empty, .object(let members)): members.isEmpty
            case (.bool(let neutral), .bool(let bool)): bool == neutral
            case (.number(let neutral), .integer(let number)): Double(number) == neutral
            case (.number(let neutral), .number(let number)): number == neutral
            case (.bool(false), .array(let elements)): elements.isEmpty
            default: false
            }
        }
    }

    private struct Refusal {
        let key: String
        let neutral: Neutral
        /// How the sentence goes on after the key.
        let what: String

        init(_ key: String, _ neutral: Neutral, _ what: String) {
            self.key = key
            self.neutral = neutral
            self.what = what
        }
    }

    private static let quantised =
        "says that the weights are quantized; open the model in BF16, F16 or F32"
    private static let foresees = "makes tokens see those behind them; only causal language models are computed"
    private static let parallel =
        "has attention and feed-forward of a block read the same hidden state, which this family does not"
    private static let experts = "asks for experts, which this family does not have"
    private static let normed = "asks for norms of query and key, which this family does not have"
    private static let otherSizes = "gives blocks sizes of their own, which is not supported"
    private static let scaled = "scales what the model computes, which this version does not compute"
    private static let attends = "changes what tokens attend to, which this version does not compute"

    private static let refusals: [Refusal] = [
        // Of pruning tools. What says which sublayers are missing is read before: see `PrunedConfig`.
        Refusal("block_configs", .nothing, otherSizes),
        Refusal("pruned_heads", .empty, "lists heads that were removed, which is not supported"),
        // Of quantising and compressing tools. `quantization_config` is told with its method, elsewhere.
        Refusal("quantization", .empty, quantised),
        Refusal("quant_config", .empty, quantised),
        Refusal("quantize_config", .empty, quantised),
        Refusal("load_in_4bit", .bool(false), quantised),
        Refusal("load_in_8bit", .bool(false), quantised),
        Refusal("sparsity_config", .empty, "says that the weights are compressed; decompress them first"),
        // What makes another model of a family.
        Refusal("norm_type", .nothing, "asks for norms that this family does not have"),
        Refusal("_remove_final_layer_norm", .bool(false), "takes the final norm out, which is not supported"),
        Refusal("is_causal", .bool(true), foresees),
        Refusal("use_bidirectional_attention", .bool(false), foresees),
        Refusal("bidirectional", .bool(false), foresees),
        Refusal("is_encoder_decoder", .bool(false), "asks for an encoder; only decoders are computed"),
        Refusal("add_cross_attention", .bool(false), "asks for cross-attention; only decoders are computed"),
        Refusal("attention_chunk_size", .nothing, attends),
        Refusal("alibi", .bool(false), attends),
        Refusal("no_rope_layers", .empty, attends),
        Refusal("use_qk_norm", .bool(false), normed),
        Refusal("qk_layernorm", .bool(false), normed),
        Refusal("qk_norm", .bool(false), normed),
        Refusal("parallel_attn", .bool(false), parallel),
        Refusal("parallel_residual", .bool(false), parallel),
        Refusal("use_parallel_residual", .bool(false), parallel),
        Refusal("num_experts", .number(0), experts),
        Refusal("num_local_experts", .number(0), experts),
        Refusal("n_routed_experts", .number(0), experts),
        Refusal("kv_lora_rank", .nothing, "asks for latent keys and values, which this family does not have"),
        Refusal("cross_attention_layers", .empty, "asks for cross-attention; only decoders are computed"),
        Refusal("scale_attn_weights", .bool(true), scaled),
        Refusal("clip_qkv", .nothing, scaled),
        Refusal("attn_logit_softcapping", .nothing, scaled),
        Refusal("final_logit_softcapping", .nothing, scaled),
        Refusal("attention_multiplier", .nothing, scaled),
        Refusal("query_pre_attn_scalar", .nothing, scaled),
        Refusal("logit_scale", .number(1), scaled),
        Refusal("logits_scaling", .number(1), scaled),
        Refusal("residual_multiplier", .number(1), scaled),
        Refusal("embedding_multiplier", .number(1), scaled),
        Refusal("scale_emb", .number(1), scaled),
        Refusal("scale_depth", .nothing, scaled),
    ]

    /// Errors: `.unsupported`, naming the method, if the weights are quantised.
    static func refuseQuantised(_ file: ConfigObject) throws(PruneError) {
        for key in ["quantization_config", "compression_config"] {
            guard file.value(key) != nil else { continue }
            let method = try file.optionalObject(key)?.optionalString("quant_method")
            throw file.fault(
                .unsupported, key,
                "says that the weights are quantized\(method.map { " with \($0.quoted)" } ?? ""); "
                    + "open the model in BF16, F16 or F32")
        }
    }

    /// To be called when everything is read.
    ///
    /// Errors: `.unsupported`, naming the key, for what would change the computation of an architecture that is known.
    static func check(_ file: ConfigObject) throws(PruneError) {
        let unread = file.unread
        for refusal in refusals {
            guard let value = unread[refusal.key], !refusal.neutral.allows(value) else { continue }
            throw file.fault(.unsupported, refusal.key, refusal.what)
        }
    }
}
