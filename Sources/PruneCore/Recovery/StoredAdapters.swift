// SPDX-License-Identifier: Apache-2.0
/// Reads the adapters of a checkpoint. They are copied, in fp32: an adapter is a value, whatever becomes of the tensors.
private struct AdapterReader {
    let tensors: TensorTable
    let width: Int
    let scratch: BufferPool

    /// Errors: `.format`, naming the tensor, if one is missing, of another shape, or not finite; `.unsupported` for an
    /// element type; `.file` if a file changed meanwhile; `.memory`.
    func adapter(_ plan: AdapterPlan) throws(PruneError) -> Adapter {
        let parts = AdapterPart.parameters(of: plan.kind).filter { $0 != .bias }
        guard parts.count == plan.matrices.count else {
            throw PruneError(
                .internal, "an adapter of kind \(plan.kind.name) was given \(plan.matrices.count) matrices")
        }
        // Read before the adapter is made, so that what a file claims costs no memory that it does not fill.
        var parameters = try bias(plan)
        for (part, names) in zip(parts, plan.matrices) {
            parameters += try values(names, Adapter.shape(of: part, width: width, rank: plan.rank))
        }
        let norm = try plan.norm.map { own throws(PruneError) in try self.norm(own) }
        var adapter = Adapter(plan.kind, width: width, rank: plan.rank, norm: norm)
        adapter.parameters = parameters
        return adapter
    }

    private func bias(_ plan: AdapterPlan) throws(PruneError) -> [Float] {
        if plan.mayLackBias, !plan.bias.contains(where: tensors.contains) { return Array(repeating: 0, count: width) }
        return try values(plan.bias, [width])
    }

    private func norm(_ plan: NormPlan) throws(PruneError) -> InputNorm {
        var gain: [Float] = []
        for name in plan.gains { gain += try values([name], plan.shape) }
        gain =
            gain.isEmpty
            ? Array(repeating: plan.factor, count: width) : gain.map { plan.factor * (plan.offset + $0) }
        let bias = try plan.bias.map { name throws(PruneError) in
            try values([name], [width]).map { plan.factor * $0 }
        }
        return InputNorm(plan.kind, gain: gain, bias: bias, epsilon: plan.epsilon)
    }

    /// The values of a tensor of that shape, under the first of some names that is stored.
    private func values(_ names: [String], _ shape: [Int]) throws(PruneError) -> [Float] {
        guard let name = names.first(where: tensors.contains) ?? names.first else {
            throw PruneError(.internal, "a tensor of an adapter was given no name")
        }
        let tensor = try tensors.tensor(name, shape: shape)
        try Memory.require(
            12 * tensor.elementCount, for: "tensor \(name.quoted) of an adapter", "end other work first")
        let (rows, columns) = shape.count == 2 ? (shape[0], shape[1]) : (1, shape[0])
        let matrix = StoredMatrix(tensor, rows: rows, columns: columns)
        let values = try reading(tensor.mappedFile.map { [$0] } ?? []) { () throws(PruneError) in
            let buffer = try scratch.buffer(rows * columns)
            matrix.widen(first: 0, count: rows, into: buffer.pointer)
            return Array(UnsafeBufferPointer(start: buffer.pointer, count: buffer.count))
        }
        guard values.allSatisfy(\.isFinite) else {
            throw PruneError(.format, "\(tensors.source): tensor \(name.quoted) has a value that is not finite")
        }
        return values
    }
}

extension NativeModel {
    /// The model with the adapters that its checkpoint has: itself, if there are none.
    fileprivate func withStoredAdapters(_ tensors: TensorTable) throws(PruneError) -> any Model {
        guard !config.absent.adapters.isEmpty else { return self }
        let reader = AdapterReader(tensors: tensors, width: config.hiddenSize, scratch: scratch)
        var adapters: [Int: Adapter] = [:]
        for (sublayer, plan) in config.absent.adapters.sorted(by: { $0.key < $1.key }) {
            adapters[sublayer] = try reader.adapter(plan)
        }
        return try RecoveredModel(
            self,
            AdapterSet(
                mask: shape.present, adapters: adapters, weightSample: try weightSample(),
                hiddenSize: config.hiddenSize))
    }
}

/// Opens a checkpoint: our engine, with the adapters that it has in the places of what is absent. Adapters are copied, and
/// read with the model's own sublayers as they are: everything else stays where it is.
///
/// - Parameter compute: nil = what `ComputeType.preferred` says.
/// Errors: those of tensors, which name the one at fault; `.memory`; as `NativeModel`.
public func openModel(_ checkpoint: Checkpoint, compute: ComputeType? = nil) throws(PruneError) -> any Model {
    try NativeModel(checkpoint, compute: compute).withStoredAdapters(checkpoint.tensors)
}
