// SPDX-License-Identifier: Apache-2.0
/// The configuration that a GGUF model has in transformers, from its metadata.
struct GGUFConfig {
    let facts: GGUFFacts
    /// As transformers has it.
    let family: Architecture
    /// What config.json of the model would say.
    private(set) var members: [String: JSONValue]
    /// What some layers lack.
    private(set) var layers = GGUFLayers()

    private var metadata: GGUFMetadata { facts.file.metadata }

    /// Errors: `.format` if a key is missing, of the wrong type or out of range; `.unsupported` for what is not computed.
    init(_ facts: GGUFFacts) throws(PruneError) {
        self.facts = facts
        family = try Self.family(facts)
        members = [
            "architectures": .array([.string(family.name)]), "model_type": .string(family.modelType),
            "tie_word_embeddings": .bool(!facts.names.contains("output.weight")),
        ]
        try addSizes()
        try addExperts()
        try addWindows()
        try addRotary()
        try addScales()
        addBiases()
        try addTokens()
        for (key, value) in facts.architecture.constants { members[key] = value }
    }

    /// The text of config.json.
    var text: String { JSONValue.object(members).text }

    private static func family(_ facts: GGUFFacts) throws(PruneError) -> Architecture {
        let row = facts.architecture
        guard let other = row.familyIf else { return row.family }
        let isOther =
            switch other.condition {
            case .number(let key): (try facts.file.metadata.optionalNumber(facts.key(key)) ?? 0) > 0
            case .tensor(let name): facts.layers(with: name) > 0
            }
        return isOther ? other.family : row.family
    }

    private mutating func set(_ key: String, _ count: Int) { set(key, .integer(count)) }

    mutating func set(_ key: String, _ value: JSONValue) { members[key] = value }

    // MARK: Sizes

    private mutating func addSizes() throws(PruneError) {
        let keys = family.keys
        let limits = ModelConfig.Limits.self
        let width = try metadata.count(facts.key("embedding_length"), limit: limits.width)
        guard let heads = try facts.count("attention.head_count", limit: limits.width) else {
            throw metadata.missing(facts.key("attention.head_count"))
        }
        set(keys.hiddenSize, width)
        set(keys.blockCount, facts.layerCount)
        set(keys.headCount, heads)
        let keyValueHeads = try facts.count("attention.head_count_kv", limit: limits.width) ?? heads
        try setHeads(heads, keyValueHeads, width: width)
        if let length = try metadata.optionalCount(facts.key("context_length"), limit: limits.context) {
            set(keys.contextLength, length)
        }
        guard let rows = facts.file.tensors["token_embd.weight"]?.shape, rows.count == 2 else {
            throw PruneError(.format, "\(facts.file.path): tensor \"token_embd.weight\" is missing, or no matrix")
        }
        set(keys.vocabularySize, rows[0])
        if let key = family.norm.epsilonKey {
            let name = family.norm.kind == .layer ? "layer_norm_epsilon" : "layer_norm_rms_epsilon"
            guard let epsilon = try metadata.optionalNumber(facts.key("attention.\(name)")) else {
                throw metadata.missing(facts.key("attention.\(name)"))
            }
            members[key] = .number(epsilon)
            layers = try GGUFLayers(facts, epsilon: Float(epsilon))
        }
        if let size = layers.feedForwardSizes.values.max() {
            set(family.feedForward.sizeKey, size)
        } else if let size = try facts.count("feed_forward_length", limit: limits.feedForward) {
            set(family.feedForward.sizeKey, size)
        }
    }

    private mutating func setHeads(_ heads: Int, _ keyValueHeads: Int, width: Int) throws(PruneError) {
        let keys = family.keys
        let limit = ModelConfig.Limits.width
        let size = try metadata.optionalCount(facts.key("attention.key_length"), limit: limit) ?? width / heads
        let values = try metadata.optionalCount(facts.key("attention.value_length"), limit: limit) ?? size
        guard size == values else {
            throw metadata.fault(
                .unsupported, facts.key("attention.value_length"),
                "is \(values), and keys have \(size); computed are models that have both alike")
        }
        if let key = keys.headSize {
            set(key, size)
        } else if size * heads != width {
            throw metadata.fault(
                .unsupported, facts.key("attention.key_length"),
                "is \(size); \(heads) heads of it do not make \(width), as \(family.name) has it")
        }
        if let key = keys.kvHeadCount {
            set(key, keyValueHeads)
        } else if keyValueHeads != heads {
            throw metadata.fault(
                .unsupported, facts.key("attention.head_count_kv"),
                "is \(keyValueHeads); \(family.name) has as many as of queries, \(heads)")
        }
    }

    private mutating func addExperts() throws(PruneError) {
        guard let rule = family.mixture else { return }
        let limits = ModelConfig.Limits.self
        set(rule.expertCountKeys[0], try metadata.count(facts.key("expert_count"), limit: limits.experts))
        set(rule.chosenCountKey, try metadata.count(facts.key("expert_used_count"), limit: limits.experts))
        let key = facts.key("expert_feed_forward_length")
        if let size = try metadata.optionalCount(key, limit: limits.feedForward) { set(rule.sizeKey, size) }
        guard let shared = rule.shared else { return }
        let sharedKey = facts.key("expert_shared_feed_forward_length")
        guard let size = try metadata.optionalCount(sharedKey, from: 0, limit: limits.feedForward) else {
            throw metadata.missing(sharedKey)
        }
        set(shared.sizeKey, size)
    }

    // MARK: Computation

    private mutating func addWindows() throws(PruneError) {
        guard let rule = facts.architecture.windows else { return }
        let key = facts.key("attention.sliding_window")
        let declared = try metadata.optionalCount(key, from: 0, limit: ModelConfig.Limits.context)
        let fits = rule.layers.map { $0 == facts.layerCount } ?? true
        let window = fits ? (declared ?? rule.missing).flatMap { $0 == 0 ? nil : $0 } : nil
        if case .none = family.windows { return }
        members["sliding_window"] = window.map { .integer($0) } ?? .null
        let listed = try windowedLayers(rule)
        members["layer_types"] = .array(
            listed.map { .string(window != nil && $0 ? "sliding_attention" : "full_attention") })
    }

    /// Which layers have a window, if there is one.
    private func windowedLayers(_ rule: GGUFArchitecture.Windows) throws(PruneError) -> [Bool] {
        let key = facts.key("attention.sliding_window_pattern")
        if let listed = try metadata.optionalFlags(key, entries: facts.layerCount) { return listed }
        let declared = try metadata.optionalCount(key, from: 0, limit: ModelConfig.Limits.blocks)
        let step = declared ?? rule.usualStep
        // As in llama.cpp, 0 = every layer has one.
        return (0..<facts.layerCount).map { step == 0 || ($0 + 1) % step != 0 }
    }

    /// The tokens that begin and end texts, and fill them up.
    private mutating func addTokens() throws(PruneError) {
        func token(_ name: String) throws(PruneError) -> Int? {
            try metadata.optionalCount("tokenizer.ggml.\(name)_token_id", from: 0, limit: ModelConfig.Limits.vocabulary)
        }
        set("bos_token_id", try token("bos").map { .integer($0) } ?? .null)
        // None stands for a family's own number, which the vocabulary may not have.
        set("pad_token_id", try token("padding").map { .integer($0) } ?? .null)
        var ends: [Int] = []
        for name in ["eos", "eot", "eom"] {
            if let own = try token(name), !ends.contains(own) { ends.append(own) }
        }
        set(
            "eos_token_id",
            ends.count > 1 ? .array(ends.map { .integer($0) }) : ends.first.map { .integer($0) } ?? .null)
    }

    /// Where keys say whether there are biases.
    private mutating func addBiases() {
        func has(_ tensors: [String]) -> Bool { tensors.contains { facts.layers(with: $0 + ".bias") > 0 } }
        func say(_ setting: Setting<Bool>, _ tensors: [String]) {
            guard case .key(let key, _) = setting else { return }
            // One key may speak of several.
            if members[key] != .bool(true) { members[key] = .bool(has(tensors)) }
        }
        say(family.attention.inputBias, ["attn_q", "attn_k", "attn_v", "attn_qkv"])
        say(family.attention.outputBias, ["attn_output"])
        say(family.feedForward.hasBias, ["ffn_gate", "ffn_up", "ffn_down"])
    }

    private mutating func addScales() throws(PruneError) {
        for (key, config) in facts.architecture.numbers {
            let name = facts.key(key)
            guard let number = try metadata.optionalNumber(name) else { continue }
            guard number > 0 else { throw metadata.fault(.format, name, "is \(number); it must be above 0") }
            set(config, .number(number))
        }
        for (key, config) in facts.architecture.counts {
            if let count = try metadata.optionalCount(facts.key(key), limit: ModelConfig.Limits.context) {
                set(config, count)
            }
        }
        if let large = facts.architecture.largeLayers,
            case .integer(let width)? = members[family.keys.hiddenSize],
            case .integer(let heads)? = members[family.keys.headCount],
            case .integer(let size)? = family.keys.headSize.flatMap({ members[$0] })
        {
            let scalar = facts.layerCount == large ? Double(width) / Double(heads) : Double(size)
            // transformers takes whole numbers alone, where it is one.
            let isWhole = scalar.rounded() == scalar
            set("query_pre_attn_scalar", isWhole ? .integer(Int(scalar)) : .number(scalar))
        }
        if case .key(let key, _) = family.attention.hasHeadNorms {
            members[key] = .bool(facts.layers(with: "attn_q_norm.weight") > 0)
        }
        if case .key(let key, _) = family.isParallel {
            let declared = try metadata.optionalBool(facts.key("use_parallel_residual"))
            let isParallel = facts.architecture.isParallelWithoutNorm && facts.layers(with: "ffn_norm.weight") == 0
            members[key] = .bool(facts.architecture.isParallelWithoutNorm ? isParallel : declared ?? true)
        }
    }
}
