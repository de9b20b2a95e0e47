// SPDX-License-Identifier: Apache-2.0
/// nemotron-nas for mlx-lm, which runs more of the format than others do: with `replace_with_linear`, a matrix stands in the
/// place of a sublayer, behind its norm; and biases, all or none of attention and all or none of feed-forwards.
///
/// Read in mlx-lm's `nemotron-nas.py` (0.32), where each refusal below has its reason. It has no other widths of
/// feed-forwards than multiples of 256, up to which they are filled with zeros: silu(0) * 0 adds nothing.
enum MLXExport {
    /// Why mlx-lm would compute something else: the end of a sentence. nil if it would not.
    static func obstacle(_ subject: ExportSubject) -> String? {
        let model = subject.config
        if subject.source.family != nil { return "the model lies in a GGUF file; export it as hf, and open that" }
        if let block = subject.blockOfOtherWidth {
            return "block \(block) has a feed-forward of another width, and all are filled up to one"
        }
        if let difference = DeciConfig.difference(model, besidesBiases: true) { return difference }
        for (sublayer, adapter) in (subject.adapters?.adapters ?? [:]).sorted(by: { $0.key < $1.key })
        where adapter.kind != .bias {
            guard let norm = adapter.norm else {
                return
                    "the adapter at \(sublayerName(sublayer)) reads the hidden state itself, and mlx-lm norms it before; recover with input \"normed\""
            }
            guard norm.kind == .rootMeanSquare, norm.epsilon == model.sublayers[0].before?.epsilon else {
                return "the adapter at \(sublayerName(sublayer)) has another norm than the model"
            }
        }
        let parts = parts(subject)
        guard stride(from: 0, to: parts.count, by: 2).contains(where: { parts[$0] != .none }) else {
            return
                "no attention is left, nor an adapter with a matrix in the place of one, and mlx-lm needs one for its cache"
        }
        if let sublayer = biases(subject).homeless {
            return "the adapter at \(sublayerName(sublayer)) is a bias, and nothing is left before it that could add it"
        }
        return rotaryObstacle(model)
    }

    private static func rotaryObstacle(_ model: ModelConfig) -> String? {
        guard case .attention(let plan) = model.sublayers[0].update, let rotary = plan.rotary else { return nil }
        return switch rotary.scaling {
        case .longRoPE: "its rotary embedding is longrope, whose long factors mlx-lm takes for short texts, too"
        case .yarn(let rule) where !rule.truncates || (rule.factor <= 1 && rule.attentionFactor != 1):
            "its YaRN does not round the ends of the ramp, or has a factor of its own, which mlx-lm does not have"
        default: nil
        }
    }

    /// Errors: `.unsupported`; `.file` and `.memory` of reading tensors.
    static func plan(_ subject: ExportSubject) throws(PruneError) -> ExportPlan {
        if let obstacle = obstacle(subject) {
            throw PruneError(.unsupported, "mlx cannot hold this: \(obstacle)\(CustomExport.remedy(subject))")
        }
        let model = subject.config
        let step = DeciWidths.step
        let padded = (model.feedForwardSize + step - 1) / step * step
        let widths = DeciWidths(hidden: model.hiddenSize, Array(repeating: padded, count: model.blockCount))
        let parts = parts(subject)
        let layers = MLXLayers(subject, added: biases(subject).sums, feedForwardSize: padded)
        var own: [ExportPlan.Tensor] = []
        for (sublayer, part) in parts.enumerated() { own += try layers.tensors(of: part, at: sublayer) }
        let blocks = (0..<model.blockCount).map { block in
            DeciConfig.Block(
                attention: DeciConfig.attention(parts[2 * block], model),
                feedForward: widths.json(block, parts[2 * block + 1])
            )
        }
        var text = try DeciConfig.text(
            subject, blocks, attentionBias: layers.hasBias[0], feedForwardBias: layers.hasBias[1])
        text.set("intermediate_size", .integer(padded))
        if let scaling = scaling(model) { text.set("rope_scaling", .object(scaling)) }
        var notes: [String: JSONValue] = ["runtimes": .array([.string("mlx-lm")])]
        if padded != model.feedForwardSize {
            notes["feed_forward_size"] = .object([
                "model": .integer(model.feedForwardSize), "with_zeros": .integer(padded),
            ])
        }
        return ExportPlan(
            format: .mlx, config: text.text, tensors: try subject.tensors(ofSublayers: own), files: [], notes: notes)
    }

    private static func parts(_ subject: ExportSubject) -> [DeciConfig.Part] {
        subject.mask.keeps.indices.map { sublayer in
            if subject.mask.keeps(sublayer) { return .whole }
            return subject.adapters?.adapters[sublayer].map { $0.kind == .bias ? .none : .linear } ?? .none
        }
    }

    /// What the outputs of sublayers that are left gain by adapters: those that are biases move to what is left before them.
    /// And the first that has nothing before it.
    private static func biases(_ subject: ExportSubject) -> (sums: [Int: [Float]], homeless: Int?) {
        var sums: [Int: [Float]] = [:]
        var target: Int?
        for (sublayer, part) in parts(subject).enumerated() {
            if part != .none { target = sublayer }
            guard let adapter = subject.adapters?.adapters[sublayer] else { continue }
            guard let target else { return (sums, sublayer) }
            let bias = adapter.parameters[adapter.biasRange]
            guard bias.contains(where: { $0 != 0 }) else { continue }
            sums[target] = zip(sums[target] ?? Array(repeating: 0, count: adapter.width), bias).map { $0 + $1 }
        }
        return (sums, nil)
    }

    /// YaRN in mlx-lm's words, where the factor on the angles' cosines is made of `mscale`; nil for rules that both say alike.
    private static func scaling(_ model: ModelConfig) -> [String: JSONValue]? {
        guard case .attention(let plan) = model.sublayers[0].update, case .yarn(let rule) = plan.rotary?.scaling else {
            return nil
        }
        let usual = RotaryParameters.YaRN.attentionFactor(rule.factor)
        return [
            "type": .string("yarn"), "rope_type": .string("yarn"), "factor": .number(rule.factor),
            "original_max_position_embeddings": .number(rule.originalContext), "beta_fast": .number(rule.betaFast),
            "beta_slow": .number(rule.betaSlow), "mscale_all_dim": .integer(0),
            "mscale": .number(usual == 1 ? 1 : (rule.attentionFactor - 1) / (usual - 1)),
            // What transformers would read, were it to run this.
            "attention_factor": .number(rule.attentionFactor),
        ]
    }
}
