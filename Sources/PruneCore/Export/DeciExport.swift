// SPDX-License-Identifier: Apache-2.0
/// nemotron-nas with `block_configs` (`DeciLMForCausalLM`), which vLLM, SGLang and mlx-lm run: sublayers that do nothing, in a
/// model that is otherwise a Llama. They own no tensors; the others keep their numbers.
///
/// Read in vLLM's `nemotron_nas.py`, where each refusal below has its reason. `replace_with_linear` is written, as the format
/// has it, but vLLM and SGLang never read it, so that no adapter can be said; for mlx-lm, which does, see `MLXExport`.
enum DeciExport {
    /// Why the format cannot say it, or its runtimes would compute something else: the end of a sentence. nil if neither.
    static func obstacle(_ subject: ExportSubject) -> String? {
        let model = subject.config
        if let adapters = subject.adapters, let place = adapters.sublayers.first {
            return
                "an adapter stands at \(sublayerName(place)), and vLLM and SGLang have none; for mlx-lm alone, mlx can hold some"
        }
        if let difference = DeciConfig.difference(model, besidesBiases: false) { return difference }
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
        let widths = DeciWidths(subject)
        var own: [ExportPlan.Tensor] = []
        for sublayer in subject.mask.kept { own += try subject.tensors(ofSublayer: sublayer) }
        return ExportPlan(
            format: .deci, config: try config(subject, widths), tensors: try subject.tensors(ofSublayers: own),
            files: ModellingFiles.deci, notes: widths.notes)
    }

    private static func config(_ subject: ExportSubject, _ widths: DeciWidths) throws(PruneError) -> String {
        let model = subject.config
        let blocks = (0..<model.blockCount).map { block in
            DeciConfig.Block(
                attention: DeciConfig.attention(subject.mask.keeps(2 * block) ? .whole : .none, model),
                feedForward: widths.json(block, subject.mask.keeps(2 * block + 1) ? .whole : .none))
        }
        var text = try DeciConfig.text(subject, blocks, attentionBias: false, feedForwardBias: false)
        text.set(
            "auto_map",
            .object([
                "AutoConfig": .string("configuration_decilm.DeciLMConfig"),
                "AutoModelForCausalLM": .string("modeling_decilm.DeciLMForCausalLM"),
            ]))
        return text.text
    }
}
