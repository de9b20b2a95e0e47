// SPDX-License-Identifier: Apache-2.0
extension GGUFConfig {
    /// `rope_parameters`, as transformers 5 has them.
    mutating func addRotary() throws(PruneError) {
        if case .none = family.rotary.blocks { return }
        var full = try parameters()
        if let windowed = family.rotary.windowed {
            let base = try number("rope.freq_base_swa")
            let own = windowed.baseKey == nil ? full["rope_theta"] : nil
            full["partial_rotary_factor"] = nil
            set(
                "rope_parameters",
                .object([
                    "full_attention": .object(full),
                    "sliding_attention": .object([
                        "rope_type": .string("default"),
                        "rope_theta": own ?? .number(base ?? windowed.missingBase),
                    ]),
                ]))
        } else {
            set("rope_parameters", .object(full))
        }
    }

    private func number(_ ending: String) throws(PruneError) -> Double? {
        try facts.file.metadata.optionalNumber(facts.key(ending))
    }

    private mutating func parameters() throws(PruneError) -> [String: JSONValue] {
        let metadata = facts.file.metadata
        let base = try number("rope.freq_base") ?? 10_000
        var own: [String: JSONValue] = ["rope_type": .string("default"), "rope_theta": .number(base)]
        if let part = try turnedPart() { own["partial_rotary_factor"] = .number(part) }
        let factor = try number("rope.scaling.attn_factor")
        if let divisors = try facts.divisors("rope_freqs.weight") {
            return own.merging(try rule(forDivisors: divisors, base: base, attentionFactor: factor)) { _, rule in rule }
        }
        let long = try facts.divisors("rope_factors_long.weight")
        let short = try facts.divisors("rope_factors_short.weight")
        if let long, let short {
            own["rope_type"] = .string("longrope")
            own["long_factor"] = .array(long.map { .number($0) })
            own["short_factor"] = .array(short.map { .number($0) })
            own["attention_factor"] = .number(factor ?? 1)
            let key = facts.key("rope.scaling.original_context_length")
            let usual = try metadata.count(facts.key("context_length"), limit: ModelConfig.Limits.context)
            own["original_max_position_embeddings"] = .integer(
                try metadata.optionalCount(key, limit: ModelConfig.Limits.context) ?? usual)
            // At the top, too, where Phi-3 has it.
            own["original_max_position_embeddings"].map { set("original_max_position_embeddings", $0) }
            return own
        }
        let kind = try metadata.optionalString(facts.key("rope.scaling.type")) ?? "none"
        switch kind {
        case "none", "longrope": break
        case "linear":
            own["rope_type"] = .string("linear")
            own["factor"] = .number(try number("rope.scaling.factor") ?? 1)
        case "yarn":
            let scale = try number("rope.scaling.factor") ?? 1
            own["rope_type"] = .string("yarn")
            own["factor"] = .number(scale)
            own["beta_fast"] = .number(try number("rope.scaling.yarn_beta_fast") ?? 32)
            own["beta_slow"] = .number(try number("rope.scaling.yarn_beta_slow") ?? 1)
            own["original_max_position_embeddings"] = .integer(
                try metadata.count(
                    facts.key("rope.scaling.original_context_length"), limit: ModelConfig.Limits.context))
            if let factor {
                own["attention_factor"] = .number(factor * RotaryParameters.YaRN.attentionFactor(scale))
            }
            // No file says it. The converter writes files of models whose ramps end between pairs all the same; what
            // PruneCore wrote it compared with llama.cpp, which rounds.
            if facts.architecture.name == "gpt-oss", !metadata.contains("prunecore.version") {
                own["truncate"] = .bool(false)
            }
            return own
        default:
            throw metadata.fault(
                .unsupported, facts.key("rope.scaling.type"),
                "is \(kind.quoted); known are none, linear, yarn and longrope")
        }
        guard factor == nil || factor == 1 else {
            throw metadata.fault(
                .unsupported, facts.key("rope.scaling.attn_factor"),
                "is \(factor ?? 1); it is computed with yarn and longrope alone")
        }
        return own
    }

    /// The share of a head that turns; nil = as the family has it.
    private func turnedPart() throws(PruneError) -> Double? {
        guard family.rotary.turnsPart else { return nil }
        let limit = ModelConfig.Limits.width
        let metadata = facts.file.metadata
        guard let turned = try metadata.optionalCount(facts.key("rope.dimension_count"), limit: limit) else {
            return nil
        }
        let heads = try facts.count("attention.head_count", limit: limit) ?? 1
        let width = try metadata.count(facts.key("embedding_length"), limit: limit)
        let size = try metadata.optionalCount(facts.key("attention.key_length"), limit: limit) ?? width / heads
        guard turned <= size, size > 0 else {
            throw metadata.fault(
                .format, facts.key("rope.dimension_count"), "is \(turned); a head has \(size)")
        }
        // transformers cuts the product off: it must not lie below the whole number.
        let part = Double(turned) / Double(size)
        return Int(Double(size) * part) == turned ? part : part.nextUp
    }
}
