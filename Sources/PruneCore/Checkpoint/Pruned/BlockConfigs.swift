// SPDX-License-Identifier: Apache-2.0
/// `block_configs` of nemotron-nas (`DeciLMForCausalLM`): a Llama whose sublayers may do nothing, or be one linear layer.
///
/// Feed-forward layers may differ in width; attention layers that are there must have as many keys as each other.
struct BlockConfigs {
    static let key = "block_configs"
    private static let name = "DeciLMForCausalLM"
    private static let type = "nemotron-nas"

    /// What stands in the place of a sublayer.
    private enum Part: Equatable {
        /// The sublayer: of attention its key and value heads, of a feed-forward its width. nil = what the model has.
        case kept(size: Int?)
        case nothing
        case linear
    }

    private let file: ConfigObject
    /// Attention and feed-forward of each block.
    private let parts: [Part]

    /// nil if the file is of another format.
    ///
    /// Errors: `.format` if something is missing or cannot be; `.unsupported`, naming the block, for what is not computed.
    static func read(_ file: ConfigObject) throws(PruneError) -> BlockConfigs? {
        let (named, modelType) = (
            try file.optionalStrings("architectures")?.first, try file.optionalString("model_type")
        )
        guard named == name || named == nil && modelType == type else { return nil }
        guard file.value(key) != nil else {
            throw file.fault(.unsupported, key, "is missing; models of \(name) are opened that describe blocks by it")
        }
        return try BlockConfigs(file)
    }

    private init(_ file: ConfigObject) throws(PruneError) {
        self.file = file
        let blocks = try file.objects(Self.key)
        guard blocks.count <= ModelConfig.Limits.blocks else {
            throw file.fault(
                .unsupported, Self.key, "has \(blocks.count) entries; \(ModelConfig.Limits.blocks) at most")
        }
        let sizes = try Sizes(file)
        var parts: [Part] = []
        for block in blocks {
            parts.append(try Self.part(of: block, "attention", sizes.keyValueCount))
            parts.append(try Self.part(of: block, "ffn", sizes.feedForwardSize))
            try Self.refuseOthers(in: block)
        }
        self.parts = parts
        try checkKeyValueCounts(
            usual: try file.optionalCount("num_key_value_heads", limit: ModelConfig.Limits.width) ?? sizes.headCount)
    }

    private static func part(
        of block: ConfigObject, _ key: String, _ size: (ConfigObject) throws(PruneError) -> Int?
    ) throws(PruneError) -> Part {
        let own = try block.object(key)
        let (isNothing, isLinear) = (
            try own.bool("no_op", default: false), try own.bool("replace_with_linear", default: false)
        )
        guard !isNothing || !isLinear else {
            throw own.fault(.format, "no_op", "is true, and so is replace_with_linear; it can be one of the two")
        }
        if isNothing { return .nothing }
        if isLinear { return .linear }
        let found = try size(own)
        _ = own.value("weights_precision")
        try refuseOthers(in: own)
        return .kept(size: found)
    }

    /// Errors: `.unsupported` for a member that nothing has read, unless its value says that nothing is changed.
    private static func refuseOthers(in object: ConfigObject) throws(PruneError) {
        for (key, value) in object.unread.sorted(by: { $0.key < $1.key }) {
            switch value {
            case .bool(false), .integer(0), .array([]): continue
            default: throw object.fault(.unsupported, key, "is \(value.described), which is not supported")
            }
        }
    }

    /// Caches and attention have one count of key and value heads for all blocks.
    private func checkKeyValueCounts(usual: Int) throws(PruneError) {
        let first = keyValueCount ?? usual
        for block in 0..<parts.count / 2 {
            guard case .kept(let size) = parts[2 * block], (size ?? usual) != first else { continue }
            throw file.fault(
                .unsupported, "\(Self.key)[\(block)].attention",
                "has \(size ?? usual) key and value heads, and blocks before it \(first); all must have as many")
        }
    }

    /// Of the first attention that is there and says it.
    private var keyValueCount: Int? {
        stride(from: 0, to: parts.count, by: 2).lazy.compactMap { index in
            if case .kept(let size) = parts[index] { size } else { nil }
        }.first
    }

    // MARK: What is read from it

    /// Widths of feed-forward layers that say theirs, by block.
    var feedForwardSizes: [Int: Int] {
        var sizes: [Int: Int] = [:]
        for index in stride(from: 1, to: parts.count, by: 2) {
            if case .kept(let size?) = parts[index] { sizes[index / 2] = size }
        }
        return sizes
    }

    /// Members that a Llama has in its config.json where this file has others; null = none.
    var changes: [String: JSONValue] {
        var changes: [String: JSONValue] = [
            Self.key: .null, "architectures": .array([.string(Architecture.llama.name)]),
            "model_type": .string(Architecture.llama.modelType),
        ]
        if let keyValueCount { changes["num_key_value_heads"] = .integer(keyValueCount) }
        if let widest = feedForwardSizes.values.max() {
            changes["intermediate_size"] = .integer(widest)
        } else if file.value("intermediate_size") == nil, let width = file.value("hidden_size") {
            // No feed-forward is there that could have a width, and a Llama must have one.
            changes["intermediate_size"] = width
        }
        return changes
    }

    /// Errors: `.format` if there are not as many blocks.
    func absent(_ architecture: Architecture, blockCount: Int, hiddenSize: Int) throws(PruneError) -> AbsentSublayers {
        guard parts.count == 2 * blockCount else {
            throw file.fault(
                .format, Self.key,
                "has \(parts.count / 2) entries, but \(architecture.keys.blockCount) is \(blockCount)")
        }
        var absent = AbsentSublayers()
        let epsilon = try architecture.norm.readEpsilon(file)
        for (place, part) in parts.enumerated() {
            switch part {
            case .kept: continue
            case .nothing: absent.places.insert(place)
            case .linear:
                absent.places.insert(place)
                absent.adapters[place] = Self.linear(place, architecture, hiddenSize: hiddenSize, epsilon: epsilon)
            }
        }
        return absent
    }

    /// A linear layer behind the norm of the block, as mlx names its tensor, and as NVIDIA does.
    private static func linear(
        _ place: Int, _ architecture: Architecture, hiddenSize: Int, epsilon: Float
    ) -> AdapterPlan {
        let names = architecture.names
        let block = "\(names.blocks).\(place / 2)"
        let sublayer = place % 2 == 0 ? names.attention : names.feedForward
        let layers = ["linear", place % 2 == 0 ? "linear_attn" : "linear_mlp"]
            .map { "\(block).\(sublayer.modules[0]).\($0)" }
        return AdapterPlan(
            kind: .linear, rank: 0,
            norm: sublayer.before.map {
                NormPlan(
                    kind: architecture.norm.kind, epsilon: epsilon, gains: ["\(block).\($0).weight"],
                    shape: [hiddenSize], bias: nil, offset: 0, factor: 1)
            },
            bias: layers.map { $0 + ".bias" }, mayLackBias: true, matrices: [layers.map { $0 + ".weight" }])
    }
}

/// How blocks say their sizes.
private struct Sizes {
    let headCount: Int
    private let width: Int
    private let activation: String
    /// Runtimes round the width that `ffn_mult` gives up to the next multiple of it.
    private static let multiple = 256

    init(_ file: ConfigObject) throws(PruneError) {
        headCount = try file.count("num_attention_heads", limit: ModelConfig.Limits.width)
        width = try file.count("hidden_size", limit: ModelConfig.Limits.width)
        activation = try file.optionalString("hidden_act") ?? "silu"
    }

    /// Key and value heads of an attention; nil = it does not say.
    func keyValueCount(_ own: ConfigObject) throws(PruneError) -> Int? {
        let direct = try own.optionalCount("num_key_value_heads", limit: ModelConfig.Limits.width)
        guard let group = try own.optionalCount("n_heads_in_group", limit: ModelConfig.Limits.width) else {
            return direct
        }
        guard headCount % group == 0 else {
            throw own.fault(.format, "n_heads_in_group", "is \(group); it must divide the \(headCount) heads")
        }
        return headCount / group
    }

    /// Width of a feed-forward; nil = it does not say.
    func feedForwardSize(_ own: ConfigObject) throws(PruneError) -> Int? {
        if let other = try own.optionalString("hidden_act"), other != activation {
            throw own.fault(.unsupported, "hidden_act", "is \(other.quoted), and \(activation.quoted) in config.json")
        }
        let direct = try own.optionalCount("intermediate_size", limit: ModelConfig.Limits.feedForward)
        guard let factor = try own.optionalPositive("ffn_mult") else { return direct }
        // As the runtimes compute it, in Python's double arithmetic.
        let size = 2 * factor * Double(width) / 3
        guard size >= 1, size <= Double(ModelConfig.Limits.feedForward - Self.multiple) else {
            throw own.fault(.unsupported, "ffn_mult", "is \(factor), a width of \(size)")
        }
        return (Int(size) + Self.multiple - 1) / Self.multiple * Self.multiple
    }
}
