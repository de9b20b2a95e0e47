// SPDX-License-Identifier: Apache-2.0
/// Any sublayers removed, in a checkpoint that any program runs which runs the model: all blocks are there, and what a removed
/// sublayer adds is zero, because its last matrices and biases are. Exact, and saves nothing.
///
/// With zeros, update(x) = 0 for every x that is finite; norms of an update make zero of it, their biases aside, which become
/// zeros, too. A norm of the sum stays: norm(h + 0) is what the mask computes. A sublayer that the model did not have any
/// more is there again, all of it zeros.
enum ZeroedExport {
    /// Errors: `.unsupported` for feed-forwards of different widths, and for adapters that are no biases, or find no output
    /// bias; `.file` and `.memory` of reading tensors.
    static func plan(_ subject: ExportSubject) throws(PruneError) -> ExportPlan {
        if let block = subject.blockOfOtherWidth {
            throw PruneError(
                .unsupported,
                "zeroed cannot hold this: the feed-forward of block \(block) has another width than that of blocks before it, and a model of all blocks has one for all; deci can, if no adapter stands in it"
            )
        }
        let config = try subject.configText().text
        let whole = try ModelConfig.parse(Array(config.utf8), path: "config.json")
        let biases = try MovedBiases(subject, whole)
        var notes: [String: JSONValue] = ["zeroed": .array(subject.mask.removed.map { .string(sublayerName($0)) })]
        if !biases.sums.isEmpty { notes["folded"] = .array(biases.sums.keys.sorted().map { .string($0) }) }
        return ExportPlan(
            format: .zeroed, config: config,
            tensors: try subject.tensors(ofSublayers: try tensors(subject, whole, biases.sums)), files: [],
            notes: notes)
    }

    /// Every tensor that the sublayers of the whole model have, each as the model has it, or as zeros where it lacks it.
    private static func tensors(
        _ subject: ExportSubject, _ whole: ModelConfig, _ sums: [String: [Float]]
    ) throws(PruneError) -> [ExportPlan.Tensor] {
        var stored: [String: ExportPlan.Tensor] = [:]
        for (sublayer, weights) in subject.model.weights.sublayers.enumerated() {
            let own =
                weights.isAbsent
                ? try subject.tensors(ofSumAt: sublayer) : try subject.tensors(ofSublayer: sublayer)
            for tensor in own { stored[tensor.name] = tensor }
        }
        let usual = subject.model.shape.elementType
        let missing = usual.isQuantised ? subject.dequantisedType : usual
        var tensors: [ExportPlan.Tensor] = []
        for (sublayer, plan) in whole.sublayers.enumerated() {
            let isKept = subject.mask.keeps(sublayer)
            let zeros = isKept ? [] : outputs(plan)
            for planned in plan.tensors(headCount: whole.headCount) {
                // A feed-forward that is removed may have had a width of its own.
                let own = stored[planned.name].flatMap { $0.shape == planned.shape ? $0 : nil }
                guard !isKept || own != nil else {
                    throw PruneError(.internal, "\(sublayerName(sublayer)) is kept without \(planned.name.quoted)")
                }
                let content: ExportPlan.Tensor.Content =
                    if let sum = sums[planned.name] {
                        .values(sum, shape: planned.shape)
                    } else if let own, !zeros.contains(planned.name) {
                        own.content
                    } else {
                        .zeros(own?.elementType ?? missing, shape: planned.shape)
                    }
                tensors.append(ExportPlan.Tensor(name: planned.name, content: content))
            }
        }
        return tensors
    }

    /// Names of the tensors without which a sublayer adds nothing: all that its last projections have, of every expert.
    private static func outputs(_ sublayer: SublayerPlan) -> Set<String> {
        let places: [ProjectionPlan] =
            switch sublayer.update {
            case .attention(let plan): [plan.output]
            case .feedForward(let plan): [plan.down]
            case .mixture(let plan): plan.experts.map(\.down) + (plan.shared.map { [$0.down] } ?? [])
            }
        return Set(places.flatMap { [$0.weight.tensor] + ($0.bias.map { [$0.tensor] } ?? []) })
            .union(sublayer.after?.bias.map { [$0] } ?? [])
    }
}

/// Adapters that are biases, as output biases of a model all of whose sublayers are there.
///
/// A bias at a removed sublayer may stand in the output bias of that sublayer itself, or of the last one before it that has
/// such a bias, if no sublayer that computes something lies between.
private struct MovedBiases {
    /// By name of the tensor: what it holds with the adapters added, in fp32.
    private(set) var sums: [String: [Float]] = [:]

    /// Errors: `.unsupported`, naming the sublayer of an adapter that finds no place, and what can hold it.
    init(_ subject: ExportSubject, _ whole: ModelConfig) throws(PruneError) {
        for (sublayer, adapter) in (subject.adapters?.adapters ?? [:]).sorted(by: { $0.key < $1.key }) {
            guard adapter.kind == .bias else {
                throw Self.refusal(
                    subject, sublayer, "is \(adapter.kind.name), and the model has no place for a matrix")
            }
            guard let (target, name) = Self.place(of: sublayer, subject, whole) else {
                throw Self.refusal(
                    subject, sublayer, "finds no output bias that it could move into without another result")
            }
            if sums[name] == nil {
                let own = subject.mask.keeps(target) ? subject.foldableBias(ofSublayer: target) : nil
                sums[name] =
                    try own.map { own throws(PruneError) in try subject.floats(own.values.tensor, target) }
                    ?? Array(repeating: 0, count: adapter.width)
            }
            for (index, value) in adapter.parameters.enumerated() { sums[name]?[index] += value }
        }
    }

    /// The sublayer whose output bias is to take the constant of an adapter, and the bias; nil if there is none.
    private static func place(
        of sublayer: Int, _ subject: ExportSubject, _ whole: ModelConfig
    ) -> (sublayer: Int, bias: String)? {
        let (plans, mask) = (whole.sublayers, subject.mask)
        // Side by side, a feed-forward reads what comes before the block; the adapter of a missing attention reaches it.
        let isRead = sublayer % 2 == 0 && plans[sublayer + 1].readsBlockInput && mask.keeps(sublayer + 1)
        var target = sublayer
        while target >= 0 {
            if let bias = plans[target].foldableBias, !(target == sublayer && isRead) { return (target, bias) }
            // What comes before is passed on unchanged where nothing is computed, and no norm follows the sum.
            guard !mask.keeps(target), plans[target].last == nil else { return nil }
            target -= 1
        }
        return nil
    }

    private static func refusal(_ subject: ExportSubject, _ sublayer: Int, _ reason: String) -> PruneError {
        PruneError(
            .unsupported,
            "zeroed cannot hold this: the adapter at \(sublayerName(sublayer)) \(reason)\(CustomExport.remedy(subject))"
        )
    }
}
