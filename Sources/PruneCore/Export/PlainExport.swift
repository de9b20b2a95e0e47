// SPDX-License-Identifier: Apache-2.0
/// Whole blocks removed: a checkpoint of the same architecture, its blocks numbered anew. Whatever loads the model loads it.
enum PlainExport {
    /// Members of config.json that have one element per block where they are arrays.
    private static let listsPerBlock = [
        "layer_types", "mlp_layer_types", "layers_block_type", "no_rope_layers", "sliding_windows", "window_sizes",
    ]

    /// Why the format cannot say it, as the end of a sentence; nil if it can.
    static func obstacle(_ subject: ExportSubject) -> String? {
        guard subject.removesWholeBlocks else {
            let partial =
                (0..<subject.mask.blockCount).first {
                    subject.mask.keeps(2 * $0) != subject.mask.keeps(2 * $0 + 1)
                } ?? 0
            return
                "block \(partial) loses one of its sublayers and keeps the other, and it says only which blocks there are"
        }
        guard subject.mask.keptCount > 0 else { return "nothing is kept, and no runtime loads a model without blocks" }
        if folded(subject) == nil {
            return
                "the adapters need a place of their own: they are not all biases that move into output biases that the model has"
        }
        return nil
    }

    /// Errors: `.unsupported` if it cannot say it.
    static func plan(_ subject: ExportSubject) throws(PruneError) -> ExportPlan {
        if let obstacle = obstacle(subject) {
            throw PruneError(.unsupported, "hf_plain cannot hold this: \(obstacle); hf_custom can")
        }
        let kept = (0..<subject.mask.blockCount).filter { subject.mask.keeps(2 * $0) }
        let biases = folded(subject) ?? [:]
        let prefix = subject.model.config.architecture.names.blocks
        let own = kept.enumerated().flatMap { number, block in
            [2 * block, 2 * block + 1].flatMap { sublayer in
                subject.tensors(ofSublayer: sublayer).map { tensor in
                    let rest = tensor.name.dropFirst("\(prefix).\(block)".count)
                    let content = biases[tensor.name].map {
                        ExportPlan.Tensor.Content.values($0, shape: [$0.count])
                    }
                    return ExportPlan.Tensor(name: "\(prefix).\(number)\(rest)", content: content ?? tensor.content)
                }
            }
        }
        var notes: [String: JSONValue] = ["blocks": .array(kept.map { .integer($0) })]
        if !biases.isEmpty { notes["folded"] = .array(biases.keys.sorted().map { .string($0) }) }
        return ExportPlan(
            format: .plain, config: try config(subject, kept), tensors: subject.tensors(ofSublayers: own), files: [],
            notes: notes)
    }

    private static func config(_ subject: ExportSubject, _ kept: [Int]) throws(PruneError) -> String {
        var text = try subject.configText()
        let model = subject.model.config
        text.set(model.architecture.keys.blockCount, .integer(kept.count))
        for list in listsPerBlock { text.cut(list, to: kept, of: model.blockCount) }
        try moveFirstWindow(&text, subject, kept)
        return text.text
    }

    /// Blocks from `max_window_layers` on have windows, where `layer_types` does not say which: as many as before must come
    /// before the first.
    private static func moveFirstWindow(
        _ text: inout ConfigText, _ subject: ExportSubject, _ kept: [Int]
    ) throws(PruneError) {
        let key = "max_window_layers"
        let model = subject.model.config
        guard case .laterBlocks = model.architecture.windows else { return }
        let file = try ConfigObject.parse(subject.source.configuration, path: subject.source.directory + "/config.json")
        // A missing key stands for a number, too, which matters if windows come from it.
        let missing: Int? =
            file.value("layer_types") == nil && model.sublayers.contains { $0.window != nil }
            ? WindowRule.defaultFirstWindowBlock : nil
        guard let first = try file.optionalCount(key, from: 0, limit: ModelConfig.Limits.context) ?? missing,
            first < model.blockCount
        else { return }
        text.set(key, .integer(kept.count { $0 < first }))
    }

    /// Biases of the model with those of adapters added, by name of the tensor; nil if some adapter finds none. Adapters are
    /// kept in fp32, and so are the sums.
    private static func folded(_ subject: ExportSubject) -> [String: [Float]]? {
        guard let adapters = subject.adapters, !adapters.adapters.isEmpty else { return [:] }
        let folded = FoldedAdapters(adapters)
        guard folded.rest.adapters.isEmpty else { return nil }
        var sums: [String: [Float]] = [:]
        let width = adapters.hiddenSize
        for sublayer in subject.mask.kept {
            let added = folded.biases[sublayer * width..<(sublayer + 1) * width]
            guard added.contains(where: { $0 != 0 }) else { continue }
            guard let bias = subject.model.weights.sublayers[sublayer].foldableBias,
                let values = try? subject.model.readingSublayer(
                    sublayer, { () throws(PruneError) in try bias.floats(subject.model.scratch) })
            else { return nil }
            sums[bias.tensor.name] = zip(
                UnsafeBufferPointer(start: values.pointer, count: values.count), added
            ).map { $0 + $1 }
        }
        return sums
    }
}
