// SPDX-License-Identifier: Apache-2.0
/// nemotron-nas with `block_configs` (`DeciLMForCausalLM`), which vLLM, SGLang and mlx-lm run: sublayers that do nothing, in a
/// model that is otherwise a Llama. They own no tensors; the others keep their numbers.
///
/// Read in vLLM's `nemotron_nas.py`, where each refusal below has its reason. `replace_with_linear` is written, as the format
/// has it, but vLLM and SGLang never read it, so that no adapter can be said; for mlx-lm, which does, see `MLXExport`.
enum DeciExport {
    /// Why the format cannot say it, or its runtimes would compute something else: the end of a sentence. nil if neither.
    static func obstacle(_ subject: ExportSubject) -> String? {
        let model = subject.config
        if let adapters = subject.adapters, let place = adapters.sublayers.first {
            return "an adapter stands at \(sublayerName(place)), and its runtimes have no adapters"
        }
        if let difference = model.differenceFromLlama {
            return "\(model.architecture.name) \(difference), and its runtimes compute Llama"
        }
        guard model.headCount * model.headSize == model.hiddenSize else {
            return "heads have \(model.headSize) values, and its runtimes take hidden_size / num_attention_heads"
        }
        guard let first = subject.mask.kept.first else {
            return "nothing is kept, and its runtimes need one sublayer"
        }
        guard first % 2 == 0 else {
            return "\(sublayerName(first)) is the first sublayer that is kept, and vLLM needs an attention there"
        }
        return nil
    }

    /// Errors: `.unsupported`.
    static func plan(_ subject: ExportSubject) throws(PruneError) -> ExportPlan {
        if let obstacle = obstacle(subject) {
            throw PruneError(.unsupported, "deci cannot hold this: \(obstacle)\(CustomExport.remedy(subject))")
        }
        let widths = DeciWidths(subject)
        var own: [ExportPlan.Tensor] = []
        for sublayer in subject.mask.kept { own += try subject.tensors(ofSublayer: sublayer) }
        return ExportPlan(
            format: .deci, config: try config(subject, widths), tensors: try subject.tensors(ofSublayers: own),
            files: ModellingFiles.deci, notes: widths.notes)
    }

    private static func config(_ subject: ExportSubject, _ widths: DeciWidths) throws(PruneError) -> String {
        var text = try subject.configText()
        let model = subject.config
        text.set("architectures", .array([.string("DeciLMForCausalLM")]))
        text.set("model_type", .string("nemotron-nas"))
        text.set(
            "auto_map",
            .object([
                "AutoConfig": .string("configuration_decilm.DeciLMConfig"),
                "AutoModelForCausalLM": .string("modeling_decilm.DeciLMForCausalLM"),
            ]))
        // Written out: what Mistral takes a missing key for is not what its runtimes do.
        text.set("num_key_value_heads", .integer(model.kvHeadCount))
        text.set("max_position_embeddings", .integer(model.contextLength))
        if text.value("rms_norm_eps") ?? "null" == "null", let norm = model.sublayers.first?.before {
            text.set("rms_norm_eps", .number(Double(norm.epsilon)))
        }
        text.set("hidden_act", .string("silu"))
        text.set("attention_bias", .bool(false))
        text.set("mlp_bias", .bool(false))
        for key in ["sliding_window", "layer_types", "head_dim"] { text.remove(key) }
        let blocks = (0..<model.blockCount).map { block in
            let attention = attention(subject.mask.keeps(2 * block), model)
            let feedForward = widths.json(block)
            return "    \(JSONValue.object(["attention": attention, "ffn": feedForward]).text)"
        }
        text.set("block_configs", written: "[\n" + blocks.joined(separator: ",\n") + "\n  ]")
        return text.text
    }

    private static func attention(_ isKept: Bool, _ model: ModelConfig) -> JSONValue {
        .object([
            "n_heads_in_group": isKept ? .integer(model.headCount / model.kvHeadCount) : .null,
            "no_op": .bool(!isKept), "num_sink_tokens": .null, "replace_with_linear": .bool(false), "sparsify": .null,
            "unshifted_sink": .bool(false), "use_prefill_window_in_sink_attention": .bool(false),
            "window_length": .null,
        ])
    }
}
