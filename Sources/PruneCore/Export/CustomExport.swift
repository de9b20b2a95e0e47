// SPDX-License-Identifier: Apache-2.0
/// Any sublayers removed, adapters in their places: a checkpoint with the modelling files that run it in transformers.
///
/// config.json names them under `auto_map`, and a `model_type` of its own: transformers then refuses to load the model
/// without them, instead of filling the gaps with random weights. `per_layer_config` declares what is skipped, as the
/// coming convention of transformers has it; transformers does not read it yet. The modelling files, and we, read `prunecore`.
enum CustomExport {
    /// The end of another format's refusal: what can hold it.
    static func remedy(_ subject: ExportSubject) -> String {
        BlockDescription(subject.config) == nil ? "" : "; hf_custom can"
    }

    /// Errors: `.unsupported` if transformers has no class that the modelling files could change; `.file` and `.memory` of
    /// reading tensors.
    static func plan(_ subject: ExportSubject) throws(PruneError) -> ExportPlan {
        guard let blocks = BlockDescription(subject.config) else {
            throw PruneError(
                .unsupported,
                "hf_custom cannot hold this: by norm_type in config.json some blocks have their norms after the sums and others before their sublayers, and transformers has no model like it; hf_plain can, if whole blocks are removed"
            )
        }
        let sharing = try SharedExport(subject)
        var own: [ExportPlan.Tensor] = []
        for sublayer in subject.mask.keeps.indices {
            if subject.mask.keeps(sublayer) {
                own += sharing.replaced(try subject.tensors(ofSublayer: sublayer))
            } else {
                own += try subject.tensors(ofSumAt: sublayer)
                let place = "\(blocks.blocks).\(sublayer / 2).\(blocks.part(sublayer).place)"
                own += subject.adapters?.adapters[sublayer].map { tensors(of: $0, place) } ?? []
            }
        }
        return ExportPlan(
            format: .custom, config: try config(subject, blocks, sharing),
            tensors: try subject.tensors(ofSublayers: own),
            files: ModellingFiles.custom(subject.config.architecture), notes: sharing.notes)
    }

    /// The tensors of an adapter, as the modelling files name them: after the module in whose place it stands.
    private static func tensors(of adapter: Adapter, _ place: String) -> [ExportPlan.Tensor] {
        AdapterPart.allCases.compactMap { part in
            // The module that they load has a bias in any case.
            let zeros = part == .normBias && adapter.norm?.kind == .layer
            guard
                let values = adapter.values(of: part)
                    ?? (zeros ? Array(repeating: 0, count: adapter.width) : nil)
            else { return nil }
            return ExportPlan.Tensor(
                name: "\(place).\(part.tensorName)",
                content: .values(values, shape: Adapter.shape(of: part, width: adapter.width, rank: adapter.rank)))
        }
    }

    private static func config(
        _ subject: ExportSubject, _ blocks: BlockDescription, _ sharing: SharedExport
    ) throws(PruneError) -> String {
        var text = try subject.configText()
        let family = subject.config.architecture
        text.set("architectures", .array([.string("PruneCore" + family.name)]))
        text.set("model_type", .string(family.customType))
        text.set(
            "auto_map",
            .object([
                "AutoConfig": .string("configuration_prunecore.PruneCore\(family.configurationClass)"),
                "AutoModelForCausalLM": .string("modeling_prunecore.PruneCore\(family.name)"),
            ]))
        let declared = declaration(subject.mask)
        if !declared.isEmpty { text.set("per_layer_config", .object(declared)) }
        let widths = widths(subject)
        var own: [String: JSONValue] = [
            // Readers of version 2 know nothing of widths and deltas.
            "version": .integer(widths.isEmpty && sharing.isEmpty ? 2 : 3),
            "removed": .array(subject.mask.removed.map { .string(sublayerName($0)) }),
            "adapters": .object(forms(subject.adapters)),
        ]
        if !widths.isEmpty { own["widths"] = .object(widths) }
        if !sharing.isEmpty { own[SharedForm.key] = .object(sharing.forms) }
        text.set("prunecore", .object(own.merging(blocks.members) { own, _ in own }))
        return text.text
    }

    /// Of the feed-forwards that have not the width of config.json, by block.
    private static func widths(_ subject: ExportSubject) -> [String: JSONValue] {
        guard subject.blockOfOtherWidth != nil else { return [:] }
        var widths: [String: JSONValue] = [:]
        for sublayer in subject.mask.kept {
            guard case .feedForward(let plan) = subject.config.sublayers[sublayer].update,
                plan.down.inputs != subject.config.feedForwardSize
            else { continue }
            widths[String(sublayer / 2)] = .integer(plan.down.inputs)
        }
        return widths
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
                var members: [String: JSONValue] = [
                    "kind": .string(adapter.kind.name), "rank": .integer(adapter.rank),
                    "input": .string(adapter.norm == nil ? "raw" : "normed"),
                    "epsilon": adapter.norm.map { .number(Double($0.epsilon)) } ?? .null,
                ]
                if let norm = adapter.norm, norm.kind != .rootMeanSquare { members["norm"] = .string(norm.kind.name) }
                return (sublayerName(sublayer), .object(members))
            })
    }
}
