// SPDX-License-Identifier: Apache-2.0
/// What is exported: a model from a directory, what of it stays, and what stands in for the rest.
struct ExportSubject {
    let model: NativeModel
    let source: CheckpointSource
    let mask: KeepMask
    let adapters: AdapterSet?
    /// What quantised matrices become.
    var dequantisedType = ElementType.bfloat16

    /// The model as transformers has it.
    var config: ModelConfig { source.family ?? model.config }

    /// Where tensors come from if the model stores them otherwise than transformers; nil = they are copied.
    var converted: FamilyTensors? {
        source.family.map { FamilyTensors(model: model, family: $0, type: dequantisedType) }
    }

    /// Whether every block is kept whole or removed whole.
    var removesWholeBlocks: Bool {
        (0..<mask.blockCount).allSatisfy { mask.keeps(2 * $0) == mask.keeps(2 * $0 + 1) }
    }

    /// The width of all dense feed-forwards that stay; nil = they differ, or there are none.
    var feedForwardWidth: Int? {
        var widths: Set<Int> = []
        for sublayer in mask.kept {
            if case .feedForward(let plan) = model.config.sublayers[sublayer].update { widths.insert(plan.down.inputs) }
        }
        return widths.count == 1 ? widths.first : nil
    }

    /// A block whose feed-forward has not the width that others have; nil if all that stay have one.
    var blockOfOtherWidth: Int? {
        var first: Int?
        for sublayer in mask.kept {
            guard case .feedForward(let plan) = model.config.sublayers[sublayer].update else { continue }
            if let first, first != plan.down.inputs { return sublayer / 2 }
            first = plan.down.inputs
        }
        return nil
    }

    /// Whether norms have factors (LayerNorm Scaling), which an export multiplies into what they store.
    private var foldsFactors: Bool {
        model.config.sublayers.contains { plan in
            [plan.before, plan.after, plan.last].contains { ($0?.factor ?? 1) != 1 }
        }
    }

    /// config.json of the model as if nothing were missing from it, its rotary embedding in both spellings. Errors: none that
    /// opening the model did not throw.
    func configText() throws(PruneError) -> ConfigText {
        let place = source.directory + "/config.json"
        var text = try ConfigText(source.configuration, source: place)
        let changes = try PrunedConfig(try ConfigObject.parse(source.configuration, path: place)).changes
        for (key, value) in changes.sorted(by: { $0.key < $1.key }) {
            if value == .null { text.remove(key) } else { text.set(key, value) }
        }
        text = RotarySpelling(text, of: config, source: place).both()
        // Where blocks had widths of their own, those that stay may have one; and they may be narrower than they were.
        let width = feedForwardWidth ?? config.feedForwardSize
        if width != (try ModelConfig.parse(Array(text.text.utf8), path: place)).feedForwardSize {
            text.set(config.architecture.feedForward.sizeKey, .integer(width))
        }
        // The code that it names is not copied, and these models need none of it.
        text.remove("auto_map")
        if foldsFactors { text.remove("norm_type") }
        // Files may call a head tied and store another: runtimes that believe them would compute another model.
        if !config.tiesEmbeddings, text.value("tie_word_embeddings") == "true" {
            text.set("tie_word_embeddings", .bool(false))
        }
        return text
    }

    /// The output bias of a sublayer that may take up a constant, under its name in the checkpoint; nil if there is none.
    func foldableBias(ofSublayer sublayer: Int) -> (name: String, values: StoredVector)? {
        guard let bias = model.weights.sublayers[sublayer].foldableBias else { return nil }
        guard let family = source.family else { return (bias.tensor.name, bias) }
        return family.sublayers[sublayer].foldableBias.map { ($0, bias) }
    }

    // MARK: Tensors

    /// The tensors of the model that no mask removes, around those of its sublayers; each once, since sublayers side by side
    /// may have one norm.
    func tensors(ofSublayers own: [ExportPlan.Tensor]) throws(PruneError) -> [ExportPlan.Tensor] {
        let ends = try self.ends()
        var names: Set<String> = []
        return (ends.before + own + ends.after).filter { names.insert($0.name).inserted }
    }

    /// What is before the sublayers, and after them.
    private func ends() throws(PruneError) -> (before: [ExportPlan.Tensor], after: [ExportPlan.Tensor]) {
        if let converted { return (try converted.embeddingTensors(), try converted.headTensors()) }
        let weights = model.weights
        func stored(_ tensor: StoredTensor) -> ExportPlan.Tensor {
            ExportPlan.Tensor(name: tensor.name, content: .stored(tensor))
        }
        return (weights.embeddingTensors.map(stored), weights.headTensors.map(stored))
    }

    /// The tensors of a kept sublayer under their own names. Errors: `.file` and `.memory` of reading some.
    func tensors(ofSublayer sublayer: Int) throws(PruneError) -> [ExportPlan.Tensor] {
        if let converted { return try converted.tensors(ofSublayer: sublayer) }
        let own = model.weights.sublayers[sublayer]
        return try tensors(own.tensors, folding: [own.before, own.after, own.last], sublayer)
    }

    /// Those that stay where a sublayer is removed: of the norm of the sum.
    func tensors(ofSumAt sublayer: Int) throws(PruneError) -> [ExportPlan.Tensor] {
        guard let last = model.weights.sublayers[sublayer].last else { return [] }
        return try tensors(last.tensors, folding: [last], sublayer)
    }

    private func tensors(
        _ tensors: [StoredTensor], folding norms: [Norm?], _ sublayer: Int
    ) throws(PruneError) -> [ExportPlan.Tensor] {
        var folded: [String: [Float]] = [:]
        for case let norm? in norms where norm.plan.factor != 1 {
            let (factor, offset) = (norm.plan.factor, norm.plan.offset)
            for gain in norm.gains {
                folded[gain.name] = try floats(gain, sublayer).map { factor * (offset + $0) - offset }
            }
            if let bias = norm.bias { folded[bias.name] = try floats(bias, sublayer).map { factor * $0 } }
        }
        return tensors.map { tensor in
            let values = folded[tensor.name].map { ExportPlan.Tensor.Content.values($0, shape: tensor.shape) }
            return ExportPlan.Tensor(name: tensor.name, content: values ?? whole(tensor))
        }
    }

    /// A tensor as it is stored; one that is a delta of another, which is computed with in fp32, as that would be.
    private func whole(_ tensor: StoredTensor) -> ExportPlan.Tensor.Content {
        let type = model.sharing.storedType(of: tensor)
        guard type != tensor.elementType, tensor.shape.count == 2 else { return .stored(tensor) }
        let matrix = StoredMatrix(tensor, rows: tensor.shape[0], columns: tensor.shape[1])
        return .converted(
            ConvertedTensor(
                shape: tensor.shape, elementType: type, isTransposed: false,
                matrices: [[ConvertedTensor.Piece(source: matrix)]]))
    }

    /// The numbers of a tensor of a sublayer in fp32.
    func floats(_ tensor: StoredTensor, _ sublayer: Int) throws(PruneError) -> [Float] {
        let values = try model.readingSublayer(sublayer) { () throws(PruneError) in
            try StoredVector(tensor: tensor).floats(model.scratch)
        }
        return Array(UnsafeBufferPointer(start: values.pointer, count: values.count))
    }
}
