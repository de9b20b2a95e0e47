// SPDX-License-Identifier: Apache-2.0
/// Any sublayers removed, adapters in their places: a checkpoint with the modelling files that run it in transformers.
///
/// config.json names them under `auto_map`, and a `model_type` of its own: transformers then refuses to load the model
/// without them, instead of filling the gaps with random weights. `per_layer_config` declares what is skipped, as the
/// coming convention of transformers has it; nothing reads it yet. The modelling files read `prunecore`.
enum CustomExport {
    static func plan(_ subject: ExportSubject) throws(PruneError) -> ExportPlan {
        let own = subject.mask.keeps.indices.flatMap { sublayer in
            if subject.mask.keeps(sublayer) { return subject.tensors(ofSublayer: sublayer) }
            return subject.adapters?.adapters[sublayer].map { tensors(of: $0, at: sublayer, subject) } ?? []
        }
        return ExportPlan(
            format: .custom, config: try config(subject), tensors: subject.tensors(ofSublayers: own),
            files: ModellingFiles.custom)
    }

    /// The tensors of an adapter, as the modelling files name them: after the module in whose place it stands.
    private static func tensors(
        of adapter: Adapter, at sublayer: Int, _ subject: ExportSubject
    ) -> [ExportPlan.Tensor] {
        let blocks = subject.model.config.architecture.names.blocks
        let place = "\(blocks).\(sublayer / 2).\(sublayer % 2 == 0 ? "self_attn" : "mlp")"
        return AdapterPart.allCases.compactMap { part in
            guard let values = adapter.values(of: part) else { return nil }
            return ExportPlan.Tensor(
                name: "\(place).\(part.tensorName)",
                content: .values(values, shape: Adapter.shape(of: part, width: adapter.width, rank: adapter.rank)))
        }
    }

    private static func config(_ subject: ExportSubject) throws(PruneError) -> String {
        var text = try subject.configText()
        let family = subject.model.config.architecture
        let stem = "PruneCore" + family.name.replacing("ForCausalLM", with: "")
        text.set("architectures", .array([.string(stem + "ForCausalLM")]))
        text.set("model_type", .string("prunecore_" + family.modelType))
        text.set(
            "auto_map",
            .object([
                "AutoConfig": .string("configuration_prunecore.\(stem)Config"),
                "AutoModelForCausalLM": .string("modeling_prunecore.\(stem)ForCausalLM"),
            ]))
        let declared = declaration(subject.mask)
        if !declared.isEmpty { text.set("per_layer_config", .object(declared)) }
        text.set(
            "prunecore",
            .object([
                "version": .integer(1),
                "removed": .array(subject.mask.removed.map { .string(sublayerName($0)) }),
                "adapters": .object(forms(subject.adapters)),
            ]))
        return text.text
    }

    /// `{"03": {"skip": ["attention"]}}`: only blocks that lack something, numbers padded so that they sort.
    private static func declaration(_ mask: KeepMask) -> [String: JSONValue] {
        var blocks: [Int: [JSONValue]] = [:]
        for sublayer in mask.removed {
            blocks[sublayer / 2, default: []].append(.string(sublayer % 2 == 0 ? "attention" : "mlp"))
        }
        let digits = String(blocks.keys.max() ?? 0).count
        return Dictionary(
            uniqueKeysWithValues: blocks.map { block, skipped in
                let number = String(block)
                return (
                    String(repeating: "0", count: digits - number.count) + number, .object(["skip": .array(skipped)])
                )
            })
    }

    /// What the modelling files need to know of each adapter beside its tensors.
    private static func forms(_ adapters: AdapterSet?) -> [String: JSONValue] {
        Dictionary(
            uniqueKeysWithValues: (adapters?.adapters ?? [:]).map { sublayer, adapter in
                (
                    sublayerName(sublayer),
                    .object([
                        "kind": .string(adapter.kind.name), "rank": .integer(adapter.rank),
                        "input": .string(adapter.norm == nil ? "raw" : "normed"),
                        "epsilon": adapter.norm.map { .number(Double($0.epsilon)) } ?? .null,
                    ])
                )
            })
    }
}
