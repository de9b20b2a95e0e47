// SPDX-License-Identifier: Apache-2.0
/// Whole blocks removed: a checkpoint of the same architecture, its blocks numbered anew. Whatever loads the model loads it.
enum PlainExport {
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
        if let sublayer = subject.mask.removed.first(where: { subject.config.sublayers[$0].last != nil }) {
            return
                "the norm after the sum of \(sublayerName(sublayer)) stays where that is removed, and no block of a smaller model has it"
        }
        if let block = subject.blockOfOtherWidth {
            return
                "the feed-forward of block \(block) has another width than that of blocks before it, and it says one for all"
        }
        if folded(subject) == nil {
            return
                "the adapters need a place of their own: they are not all biases that move into output biases that the model has"
        }
        // What reading the configuration throws is no obstacle of the format; the export throws it again.
        return try? SmallerConfig(subject).obstacle
    }

    /// Errors: `.unsupported` if it cannot say it.
    static func plan(_ subject: ExportSubject) throws(PruneError) -> ExportPlan {
        if let obstacle = obstacle(subject) {
            throw PruneError(.unsupported, "hf_plain cannot hold this: \(obstacle)\(CustomExport.remedy(subject))")
        }
        let config = try SmallerConfig(subject)
        let biases = folded(subject) ?? [:]
        let prefix = subject.config.architecture.names.blocks
        var own: [ExportPlan.Tensor] = []
        for (number, block) in config.kept.enumerated() {
            for sublayer in [2 * block, 2 * block + 1] {
                own += try subject.tensors(ofSublayer: sublayer).map { tensor in
                    let rest = tensor.name.dropFirst("\(prefix).\(block)".count)
                    let content = biases[tensor.name].map {
                        ExportPlan.Tensor.Content.values($0, shape: [$0.count])
                    }
                    return ExportPlan.Tensor(name: "\(prefix).\(number)\(rest)", content: content ?? tensor.content)
                }
            }
        }
        var notes: [String: JSONValue] = ["blocks": .array(config.kept.map { .integer($0) })]
        if !biases.isEmpty { notes["folded"] = .array(biases.keys.sorted().map { .string($0) }) }
        return ExportPlan(
            format: .plain, config: config.text.text, tensors: try subject.tensors(ofSublayers: own), files: [],
            notes: notes)
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
            guard let (name, bias) = subject.foldableBias(ofSublayer: sublayer),
                let values = try? subject.model.readingSublayer(
                    sublayer, { () throws(PruneError) in try bias.floats(subject.model.scratch) })
            else { return nil }
            sums[name] = zip(
                UnsafeBufferPointer(start: values.pointer, count: values.count), added
            ).map { $0 + $1 }
        }
        return sums
    }
}
