// SPDX-License-Identifier: Apache-2.0
/// nemotron-nas with `block_configs` (`DeciLMForCausalLM`), which vLLM and mlx run: sublayers that do nothing, in a model that
/// is otherwise a Llama. They own no tensors; the others keep their numbers.
///
/// Read in vLLM's `nemotron_nas.py`, where each refusal below has its reason. `replace_with_linear` is written, as the format
/// has it, but vLLM never reads it, so that no adapter can be said.
enum DeciExport {
    /// Why the format cannot say it, or its runtimes would compute something else: the end of a sentence. nil if neither.
    static func obstacle(_ subject: ExportSubject) -> String? {
        let model = subject.model.config
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
        let widths = FeedForwardWidths(subject)
        var own: [ExportPlan.Tensor] = []
        for sublayer in subject.mask.kept { own += try subject.tensors(ofSublayer: sublayer) }
        return ExportPlan(
            format: .deci, config: try config(subject, widths), tensors: subject.tensors(ofSublayers: own),
            files: ModellingFiles.deci, notes: ["feed_forward_width": .string(widths.key)])
    }

    private static func config(_ subject: ExportSubject, _ widths: FeedForwardWidths) throws(PruneError) -> String {
        var text = try subject.configText()
        let model = subject.model.config
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

    /// How the format says the widths of feed-forward layers.
    private struct FeedForwardWidths {
        /// "ffn_mult", which all runtimes read; "intermediate_size", which vLLM alone does, where no multiple says it: a
        /// runtime takes 2/3 of `ffn_mult` times the hidden size, and the next multiple of 256.
        let key: String
        /// By block; nil where it is not kept.
        private let widths: [Int?]
        private let hidden: Int

        init(_ subject: ExportSubject) {
            let hidden = subject.model.config.hiddenSize
            let widths = (0..<subject.mask.blockCount).map { block -> Int? in
                guard subject.mask.keeps(2 * block + 1),
                    case .feedForward(let plan) = subject.model.config.sublayers[2 * block + 1].update
                else { return nil }
                return plan.down.inputs
            }
            self.hidden = hidden
            self.widths = widths
            let areMultiples = widths.compactMap(\.self).allSatisfy { width in
                // As the runtimes compute it, in Python's double arithmetic. Cannot overflow: sizes are bounded.
                let least = Int(2 * Self.multiple(width, hidden) * Double(hidden) / 3)
                return (least + 255) / 256 * 256 == width
            }
            key = areMultiples ? "ffn_mult" : "intermediate_size"
        }

        private static func multiple(_ width: Int, _ hidden: Int) -> Double { 3 * Double(width) / (2 * Double(hidden)) }

        func json(_ block: Int) -> JSONValue {
            let width = widths[block]
            let value: JSONValue? = width.map {
                key == "ffn_mult" ? .number(Self.multiple($0, hidden)) : .integer($0)
            }
            return .object([
                width == nil ? "ffn_mult" : key: value ?? .null, "no_op": .bool(width == nil),
                "replace_with_linear": .bool(false), "sparsify": .null,
            ])
        }
    }
}
