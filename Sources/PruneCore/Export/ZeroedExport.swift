// SPDX-License-Identifier: Apache-2.0
/// Any sublayers removed, in a checkpoint that any program runs which runs the model: all blocks are there, and what a removed
/// sublayer adds is zero, because its last matrices and biases are. Exact, and saves nothing.
///
/// With zeros, update(x) = 0 for every x that is finite; norms of an update make zero of it, their biases aside, which become
/// zeros, too. A norm of the sum stays: norm(h + 0) is what the mask computes.
enum ZeroedExport {
    /// Errors: `.unsupported` for adapters that are no biases, or find no output bias; `.file` and `.memory` of reading tensors.
    static func plan(_ subject: ExportSubject) throws(PruneError) -> ExportPlan {
        let biases = try MovedBiases(subject)
        var own: [ExportPlan.Tensor] = []
        for sublayer in subject.mask.keeps.indices {
            let zeros = subject.mask.keeps(sublayer) ? [] : outputs(subject.config.sublayers[sublayer])
            own += try subject.tensors(ofSublayer: sublayer).map { tensor in
                let content: ExportPlan.Tensor.Content =
                    if let sum = biases.sums[tensor.name] {
                        .values(sum, shape: tensor.shape)
                    } else if zeros.contains(tensor.name) {
                        .zeros(tensor.elementType, shape: tensor.shape)
                    } else {
                        tensor.content
                    }
                return ExportPlan.Tensor(name: tensor.name, content: content)
            }
        }
        var notes: [String: JSONValue] = ["zeroed": .array(subject.mask.removed.map { .string(sublayerName($0)) })]
        if !biases.sums.isEmpty { notes["folded"] = .array(biases.sums.keys.sorted().map { .string($0) }) }
        return ExportPlan(
            format: .zeroed, config: try subject.configText().text, tensors: try subject.tensors(ofSublayers: own),
            files: [], notes: notes)
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
    init(_ subject: ExportSubject) throws(PruneError) {
        for (sublayer, adapter) in (subject.adapters?.adapters ?? [:]).sorted(by: { $0.key < $1.key }) {
            guard adapter.kind == .bias else {
                throw Self.refusal(
                    subject, sublayer, "is \(adapter.kind.name), and the model has no place for a matrix")
            }
            guard let target = Self.target(of: sublayer, subject),
                let (name, bias) = subject.foldableBias(ofSublayer: target)
            else {
                throw Self.refusal(
                    subject, sublayer, "finds no output bias that it could move into without another result")
            }
            if sums[name] == nil {
                sums[name] =
                    subject.mask.keeps(target)
                    ? try subject.floats(bias.tensor, target) : Array(repeating: 0, count: adapter.width)
            }
            for (index, value) in adapter.parameters.enumerated() { sums[name]?[index] += value }
        }
    }

    /// The sublayer whose output bias is to take the constant of an adapter; nil if there is none.
    private static func target(of sublayer: Int, _ subject: ExportSubject) -> Int? {
        let (weights, mask) = (subject.model.weights.sublayers, subject.mask)
        // Side by side, a feed-forward reads what comes before the block; the adapter of a missing attention reaches it.
        let isRead = sublayer % 2 == 0 && weights[sublayer + 1].plan.readsBlockInput && mask.keeps(sublayer + 1)
        var target = sublayer
        while target >= 0 {
            if weights[target].foldableBias != nil, !(target == sublayer && isRead) { return target }
            // What comes before is passed on unchanged where nothing is computed, and no norm follows the sum.
            guard !mask.keeps(target), weights[target].last == nil else { return nil }
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
