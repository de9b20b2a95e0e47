// SPDX-License-Identifier: Apache-2.0
/// The tensors of sublayers as mlx-lm wants them: biases for all projections of a kind or for none, feed-forwards filled up with
/// zeros, matrices of adapters.
struct MLXLayers {
    private let subject: ExportSubject
    /// What is added to the outputs of a sublayer besides its own bias.
    private let added: [Int: [Float]]
    private let feedForwardSize: Int
    /// Whether attention layers have biases, and whether feed-forward layers do.
    let hasBias: [Bool]

    /// - Parameters:
    ///   - added: of `width` values each, by sublayer.
    ///   - feedForwardSize: at least the model's.
    init(_ subject: ExportSubject, added: [Int: [Float]], feedForwardSize: Int) {
        self.subject = subject
        self.added = added
        self.feedForwardSize = feedForwardSize
        let weights = subject.model.weights.sublayers
        hasBias = [0, 1].map { kind in
            weights.indices.contains { sublayer in
                sublayer % 2 == kind
                    && (added[sublayer] != nil
                        || subject.mask.keeps(sublayer) && weights[sublayer].projections.contains { $0.bias != nil })
            }
        }
    }

    /// Errors: `.file` and `.memory` of reading tensors.
    func tensors(of part: DeciConfig.Part, at sublayer: Int) throws(PruneError) -> [ExportPlan.Tensor] {
        switch part {
        case .none: []
        case .whole: try whole(sublayer)
        case .linear: linear(sublayer)
        }
    }

    private func whole(_ sublayer: Int) throws(PruneError) -> [ExportPlan.Tensor] {
        let own = subject.model.weights.sublayers[sublayer]
        var tensors = try subject.tensors(ofSublayer: sublayer)
        for projection in own.projections {
            let isLast = projection.weight.tensor.name == own.lastProjection?.weight.tensor.name
            let weight = projection.weight.tensor
            let rows = sublayer % 2 == 1 && !isLast ? feedForwardSize : projection.outputs
            let columns = sublayer % 2 == 1 && isLast ? feedForwardSize : projection.inputs
            if rows != projection.outputs || columns != projection.inputs,
                let index = tensors.firstIndex(where: { $0.name == weight.name })
            {
                tensors[index] = ExportPlan.Tensor(
                    name: weight.name, content: .padded(weight, rows: rows, columns: columns))
            }
            guard hasBias[sublayer % 2] else { continue }
            let name = projection.bias?.tensor.name ?? Self.biasName(of: weight.name)
            tensors.removeAll { $0.name == name }
            tensors.append(
                ExportPlan.Tensor(
                    name: name, content: try bias(projection, rows, sublayer, adding: isLast ? added[sublayer] : nil)))
        }
        return tensors
    }

    /// The bias of a projection of that many outputs, be it of zeros.
    private func bias(
        _ projection: Projection, _ count: Int, _ sublayer: Int, adding sum: [Float]?
    ) throws(PruneError) -> ExportPlan.Tensor.Content {
        guard let own = projection.bias?.tensor else {
            return sum.map { .values($0, shape: [count]) }
                ?? .zeros(projection.weight.tensor.elementType, shape: [count])
        }
        if sum == nil, count == projection.outputs { return .stored(own) }
        var values = try subject.floats(own, sublayer)
        values += Array(repeating: 0, count: count - values.count)
        if let sum { values = zip(values, sum).map { $0 + $1 } }
        return .values(values, shape: [count])
    }

    private static func biasName(of weight: String) -> String {
        (weight.hasSuffix(".weight") ? String(weight.dropLast(".weight".count)) : weight) + ".bias"
    }

    /// The matrix of an adapter, and the norm before it, by the names of a Llama.
    private func linear(_ sublayer: Int) -> [ExportPlan.Tensor] {
        guard let adapter = subject.adapters?.adapters[sublayer], let norm = adapter.norm else { return [] }
        let (width, block) = (adapter.width, "model.layers.\(sublayer / 2)")
        let module = sublayer % 2 == 0 ? "self_attn.linear" : "mlp.linear"
        let before = sublayer % 2 == 0 ? "input_layernorm" : "post_attention_layernorm"
        var tensors = [
            ExportPlan.Tensor(name: "\(block).\(before).weight", content: .values(norm.gain, shape: [width])),
            ExportPlan.Tensor(name: "\(block).\(module).weight", content: .matrix(adapter)),
        ]
        if hasBias[sublayer % 2] {
            tensors.append(
                ExportPlan.Tensor(
                    name: "\(block).\(module).bias",
                    content: added[sublayer].map { .values($0, shape: [width]) } ?? .zeros(.float32, shape: [width])))
        }
        return tensors
    }
}
