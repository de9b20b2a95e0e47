// SPDX-License-Identifier: Apache-2.0
/// config.json of a model without some of its blocks: what depends on the number of a block is written so that every kept
/// block stays what it is.
///
/// Most families say it by lists, or by patterns that lists may replace. The text is read again after each change, and what it
/// gives the blocks is compared with what they had.
struct SmallerConfig {
    private(set) var text: ConfigText
    /// Old numbers of the blocks, in their order.
    let kept: [Int]
    /// Why config.json cannot say it, as the end of a sentence; nil if it does.
    private(set) var obstacle: String?
    private let model: ModelConfig
    private let source: String

    /// Members that have one element per block where they are arrays.
    private static let listsPerBlock = [
        "layer_types", "mlp_layer_types", "layers_block_type", "no_rope_layers", "sliding_windows", "window_sizes",
    ]

    /// Errors: `.format` and `.unsupported` if the text that results cannot be read.
    init(_ subject: ExportSubject) throws(PruneError) {
        text = try subject.configText()
        model = subject.config
        kept = (0..<subject.mask.blockCount).filter { subject.mask.keeps(2 * $0) }
        source = subject.source.directory + "/config.json"
        let file = try ConfigObject.parse(subject.source.configuration, path: source)
        text.set(model.architecture.keys.blockCount, .integer(kept.count))
        for list in Self.listsPerBlock { text.cut(list, to: kept, of: model.blockCount) }
        try moveFirstWindow(file)
        try renumberDenseBlocks(file)
        for fact in BlockFact.allCases {
            if try difference(fact) != nil { spellOut(fact) }
        }
        for fact in BlockFact.allCases {
            if let block = try difference(fact) {
                obstacle =
                    "\(fact.key(model.architecture)) in config.json gives block \(block) \(fact.what) by its number, and it has another number in a smaller model"
                return
            }
        }
    }

    /// The old number of the first block to which the text gives something else; nil if there is none.
    private func difference(_ fact: BlockFact) throws(PruneError) -> Int? {
        let smaller = try ModelConfig.parse(Array(text.text.utf8), path: source)
        return kept.enumerated().first { number, block in
            fact.value(smaller, number) != fact.value(model, block)
        }?.element
    }

    /// Writes a list in the place of a pattern, where the family reads one.
    private mutating func spellOut(_ fact: BlockFact) {
        let architecture = model.architecture
        switch fact {
        case .rotary:
            guard case .listed = architecture.rotary.blocks else { return }
            text.set("no_rope_layers", .array(kept.map { .integer(BlockFact.turns(model, $0) ? 1 : 0) }))
        case .window:
            text.set(
                "layer_types",
                .array(
                    kept.map { .string(model.window(ofBlock: $0) == nil ? "full_attention" : "sliding_attention") }))
        case .mixture:
            guard let key = architecture.mixture?.denseBlocksKey, let step = architecture.mixture?.sparseStepKey else {
                return
            }
            let dense = kept.indices.filter { !BlockFact.isMixture(model, kept[$0]) }
            text.set(key, .array(dense.map { .integer($0) }))
            text.set(step, .integer(1))
        case .scale, .norms: return
        }
    }

    /// Blocks from `max_window_layers` on have windows, where `layer_types` does not say which: as many as before must come
    /// before the first.
    private mutating func moveFirstWindow(_ file: ConfigObject) throws(PruneError) {
        let key = "max_window_layers"
        guard case .laterBlocks = model.architecture.windows else { return }
        // A missing key stands for a number, too, which matters if windows come from it.
        let missing: Int? =
            file.value("layer_types") == nil && model.sublayers.contains { $0.window != nil }
            ? WindowRule.defaultFirstWindowBlock : nil
        guard let first = try file.optionalCount(key, from: 0, limit: ModelConfig.Limits.context) ?? missing,
            first < model.blockCount
        else { return }
        text.set(key, .integer(kept.count { $0 < first }))
    }

    /// A list of the numbers of dense blocks.
    private mutating func renumberDenseBlocks(_ file: ConfigObject) throws(PruneError) {
        guard let key = model.architecture.mixture?.denseBlocksKey, file.value(key) != nil else { return }
        let dense = try file.numbers(key)
        text.set(key, .array(kept.indices.filter { dense.contains(Double(kept[$0])) }.map { .integer($0) }))
    }
}

/// What may depend on the number of a block.
private enum BlockFact: CaseIterable {
    // Windows may follow from which blocks turn their heads, which is told first.
    case rotary
    case window
    case scale
    case mixture
    case norms

    enum Value: Equatable {
        case rotary(RotaryParameters?)
        case window(Int?)
        case scale(Float)
        case mixture(Bool)
        /// For both sublayers, whether there are norms before, after and of the sum.
        case norms([Bool])
    }

    func value(_ model: ModelConfig, _ block: Int) -> Value {
        switch self {
        case .rotary: .rotary(Self.attention(model, block)?.rotary)
        case .window: .window(model.window(ofBlock: block))
        case .scale: .scale(Self.attention(model, block)?.scale ?? 0)
        case .mixture: .mixture(Self.isMixture(model, block))
        case .norms:
            .norms(
                [2 * block, 2 * block + 1].flatMap { sublayer in
                    let plan = model.sublayers[sublayer]
                    return [plan.before != nil, plan.after != nil, plan.last != nil]
                })
        }
    }

    /// The key that says it.
    func key(_ family: Architecture) -> String {
        switch self {
        case .rotary: "no_rope_layers"
        case .window: "layer_types"
        case .scale: if case .headSizeAndBlock(let key) = family.attention.scale { key } else { "its model_type" }
        case .mixture: family.mixture?.sparseStepKey ?? "its model_type"
        case .norms: "norm_type"
        }
    }

    var what: String {
        switch self {
        case .rotary: "its rotary embedding"
        case .window: "its window"
        case .scale: "the scale of its scores"
        case .mixture: "its mixture of experts, or none,"
        case .norms: "the places of its norms"
        }
    }

    private static func attention(_ model: ModelConfig, _ block: Int) -> AttentionPlan? {
        if case .attention(let plan) = model.sublayers[2 * block].update { plan } else { nil }
    }

    static func turns(_ model: ModelConfig, _ block: Int) -> Bool { attention(model, block)?.rotary != nil }

    static func isMixture(_ model: ModelConfig, _ block: Int) -> Bool {
        if case .mixture = model.sublayers[2 * block + 1].update { true } else { false }
    }
}
