// SPDX-License-Identifier: Apache-2.0
/// The tensors of a model as transformers stores them, made of those of a file that stores them otherwise: GGUF.
///
/// Both are plans of the same model: each matrix, norm and bias of the one is found in the other.
struct FamilyTensors {
    let model: NativeModel
    /// The model's configuration in transformers.
    let family: ModelConfig
    /// What quantised matrices become.
    let type: ElementType

    private typealias Tensor = ExportPlan.Tensor
    private typealias Piece = ConvertedTensor.Piece

    /// Tensors under way: several projections may fill one.
    private struct Made {
        var order: [String] = []
        var matrices: [String: (shape: [Int], isTransposed: Bool, pieces: [Int: [Piece]])] = [:]
        var vectors: [String: (shape: [Int], values: [Float])] = [:]
    }

    // MARK: What is asked for

    /// Errors: `.unsupported` if the file has a bias that the family has no place for; `.memory`; `.file`.
    func tensors(ofSublayer sublayer: Int) throws(PruneError) -> [ExportPlan.Tensor] {
        let own = model.weights.sublayers[sublayer]
        let plan = family.sublayers[sublayer]
        var made = Made()
        try add(plan.before, own.before, to: &made)
        switch (plan.update, own.update) {
        case (.attention(let plan), .attention(let own)): try add(plan, own, to: &made)
        case (.feedForward(let plan), .feedForward(let own)): try add(plan, own, to: &made)
        case (.mixture(let plan), .mixture(let own)): try add(plan, own, to: &made)
        default: throw PruneError(.internal, "\(sublayerName(sublayer)) is another sublayer in transformers")
        }
        try add(plan.after, own.after, to: &made)
        return tensors(made)
    }

    func embeddingTensors() throws(PruneError) -> [ExportPlan.Tensor] {
        var made = Made()
        add(model.weights.embedding, family.architecture.embeddingName, to: &made)
        if let positions = family.embedding.positions, let own = model.weights.positions {
            add(own, positions.tensor, to: &made)
        }
        return tensors(made)
    }

    func headTensors() throws(PruneError) -> [ExportPlan.Tensor] {
        var made = Made()
        try add(family.head.norm, model.weights.finalNorm, to: &made)
        if !family.tiesEmbeddings { add(model.weights.head, family.architecture.headName, to: &made) }
        if let name = family.head.bias {
            let count = family.vocabularySize
            let own = try model.weights.headBias.map { own throws(PruneError) in try values(own) }
            set(name, [count], at: 0, own ?? Array(repeating: 0, count: count), to: &made)
        } else if model.weights.headBias != nil {
            throw noPlace("output.bias")
        }
        return tensors(made)
    }

    private func tensors(_ made: Made) -> [ExportPlan.Tensor] {
        made.order.map { name in
            if let vector = made.vectors[name] {
                return Tensor(name: name, content: .values(vector.values, shape: vector.shape))
            }
            let matrix = made.matrices[name] ?? ([], false, [:])
            let types = Set(matrix.pieces.values.joined().map { model.sharing.storedType(of: $0.source.tensor) })
            let kept = types.count == 1 ? types.first.flatMap { $0.isQuantised ? nil : $0 } : nil
            return Tensor(
                name: name,
                content: .converted(
                    ConvertedTensor(
                        shape: matrix.shape, elementType: kept ?? type, isTransposed: matrix.isTransposed,
                        matrices: matrix.pieces.keys.sorted().map { matrix.pieces[$0] ?? [] })))
        }
    }

    // MARK: Sublayers

    private func add(
        _ plan: AttentionPlan, _ own: AttentionWeights, to made: inout Made
    ) throws(PruneError) {
        guard own.inputs.count == 3 else {
            throw PruneError(.internal, "queries, keys and values of a file are not apart")
        }
        let size = family.headSize
        let order = headOrder(plan.rotary, own.rotary?.parameters)
        switch plan.inputs {
        case .separate(let query, let key, let value):
            for (index, target) in [query, key, value].enumerated() {
                try add(target, own.inputs[index], order: index < 2 ? order : nil, to: &made)
            }
        case .headByHead(let all):
            for head in 0..<family.headCount {
                for (index, source) in own.inputs.enumerated() {
                    let rows = head * size..<(head + 1) * size
                    let part = StoredMatrix(
                        try source.weight.tensor.part(rows: rows, columns: 0..<source.inputs), rows: size,
                        columns: source.inputs)
                    let first = (3 * head + index) * size
                    add(part, all.weight, first: first, order: index < 2 ? order : nil, to: &made)
                    try addBias(source, all, rows, first: first, order: index < 2 ? order : nil, to: &made)
                }
            }
        }
        try add(plan.output, own.output, to: &made)
        try add(plan.queryNorm?.norm, own.queryNorm, order: order, to: &made)
        try add(plan.keyNorm?.norm, own.keyNorm, order: order, to: &made)
        if let name = plan.sinks, let sinks = own.sinks {
            let values = try values(sinks)
            set(name, [values.count], at: 0, values, to: &made)
        }
    }

    /// Which entry of a stored head is the n-th in transformers; nil = it is the same.
    private func headOrder(_ target: RotaryParameters?, _ stored: RotaryParameters?) -> [Int]? {
        guard let target, let stored, target.pairing != stored.pairing else { return nil }
        let half = target.half
        let turned = (0..<2 * half).map { entry in
            target.pairing == .halves ? 2 * (entry % half) + entry / half : entry % 2 * half + entry / 2
        }
        return turned + Array(2 * half..<max(family.headSize, 2 * half))
    }

    /// Which row of a factor is the n-th in transformers, of one of the `namedProjections` of a sublayer; nil = they come as
    /// they are.
    func rowOrder(ofProjection index: Int, _ sublayer: Int, rows: Int) -> [Int]? {
        guard case .attention(let plan) = family.sublayers[sublayer].update, index < 2,
            let own = model.weights.sublayers[sublayer].attention
        else { return nil }
        return headOrder(plan.rotary, own.rotary?.parameters).map { repeated($0, rows) }
    }

    private func add(
        _ plan: FeedForwardPlan, _ own: FeedForwardWeights, to made: inout Made
    ) throws(PruneError) {
        switch (plan.inputs, own.inputs) {
        case (.gated(let gate, let up), .gated(let ownGate, let ownUp)):
            try add(gate, ownGate, to: &made)
            try add(up, ownUp, to: &made)
        case (.alternating(let both), .gated(let gate, let up)):
            try add(both, gate, first: 0, step: 2, to: &made)
            try add(both, up, first: 1, step: 2, to: &made)
        case (.plain(let only), .plain(let own)): try add(only, own, to: &made)
        default: throw PruneError(.internal, "a feed-forward of the file has other parts in transformers")
        }
        try add(plan.down, own.down, to: &made)
    }

    private func add(_ plan: MixturePlan, _ own: MixtureWeights, to made: inout Made) throws(PruneError) {
        try add(plan.router, own.router, to: &made)
        for (plan, own) in zip(plan.experts, own.experts) { try add(plan, own, to: &made) }
        if let shared = plan.shared, let own = own.shared { try add(shared, own, to: &made) }
        if let gate = plan.sharedGate, let own = own.sharedGate { try add(gate, own, to: &made) }
    }

    // MARK: Parts

    /// - Parameter order: of the entries of each head; nil = outputs come as they are.
    private func add(
        _ plan: ProjectionPlan, _ own: Projection, first: Int = 0, step: Int = 1, order: [Int]? = nil,
        to made: inout Made
    ) throws(PruneError) {
        add(own.weight, plan.weight, first: plan.weight.first + first, step: step, order: order, to: &made)
        try addBias(own, plan, 0..<own.outputs, first: first, step: step, order: order, to: &made)
    }

    private func add(
        _ source: StoredMatrix, _ place: ProjectionPlan.Place, first: Int, step: Int = 1, order: [Int]?,
        to made: inout Made
    ) {
        if made.matrices[place.tensor] == nil {
            made.order.append(place.tensor)
            made.matrices[place.tensor] = (place.shape, place.isTransposed, [:])
        }
        let rows = order.map { order in repeated(order, source.rows) }
        made.matrices[place.tensor]?.pieces[place.expert ?? 0, default: []].append(
            Piece(source: source, first: first, step: step, order: rows))
    }

    /// A whole matrix under another name.
    private func add(_ source: StoredMatrix, _ name: String, to made: inout Made) {
        add(
            source, ProjectionPlan.Place(tensor: name, shape: [source.rows, source.columns]), first: 0, order: nil,
            to: &made)
    }

    /// The order of one head for all.
    private func repeated(_ order: [Int], _ rows: Int) -> [Int] {
        (0..<rows).map { $0 / order.count * order.count + order[$0 % order.count] }
    }

    /// - Parameter outputs: those of the stored projection that are taken.
    private func addBias(
        _ own: Projection, _ plan: ProjectionPlan, _ outputs: Range<Int>, first: Int, step: Int = 1,
        order: [Int]?, to made: inout Made
    ) throws(PruneError) {
        guard let place = plan.bias else {
            if let bias = own.bias { throw noPlace(bias.tensor.name) }
            return
        }
        var values = Array(repeating: Float(0), count: outputs.count)
        if let bias = own.bias {
            let all = try self.values(bias)
            for index in values.indices {
                let row = order.map { index / $0.count * $0.count + $0[index % $0.count] } ?? index
                values[index] = all[outputs.lowerBound + row]
            }
        }
        let columns = place.shape.last ?? 0
        let begin = (place.expert ?? 0) * columns + place.first + first
        set(place.tensor, place.shape, at: begin, step: step, values, to: &made)
    }

    private func set(
        _ name: String, _ shape: [Int], at first: Int, step: Int = 1, _ values: [Float], to made: inout Made
    ) {
        if made.vectors[name] == nil {
            made.order.append(name)
            made.vectors[name] = (shape, Array(repeating: 0, count: shape.reduce(1, *)))
        }
        for (index, value) in values.enumerated() { made.vectors[name]?.values[first + index * step] = value }
    }

    /// A norm: what is stored differs by what the family adds to it.
    private func add(
        _ plan: NormPlan?, _ own: Norm?, order: [Int]? = nil, to made: inout Made
    ) throws(PruneError) {
        guard let plan, let own else { return }
        let difference = own.plan.offset - plan.offset
        var gain: [Float] = []
        for tensor in own.gains { gain += try values(StoredVector(tensor: tensor)).map { $0 + difference } }
        if let order, !gain.isEmpty {
            let stored = gain
            for index in gain.indices {
                gain[index] = stored[index / order.count * order.count + order[index % order.count]]
            }
        }
        let count = plan.shape.reduce(1, *)
        for (number, name) in plan.gains.enumerated() where (number + 1) * count <= gain.count {
            set(name, plan.shape, at: 0, Array(gain[number * count..<(number + 1) * count]), to: &made)
        }
        if let name = plan.bias, let bias = own.bias {
            set(name, [bias.elementCount], at: 0, try values(StoredVector(tensor: bias)), to: &made)
        }
    }

    private func values(_ vector: StoredVector) throws(PruneError) -> [Float] {
        let buffer = try reading(vector.tensor.mappedFile.map { [$0] } ?? []) { () throws(PruneError) in
            try vector.floats(model.scratch)
        }
        return Array(UnsafeBufferPointer(start: buffer.pointer, count: buffer.count))
    }

    private func noPlace(_ bias: String) -> PruneError {
        PruneError(
            .unsupported,
            "tensor \(bias.quoted) has no place in \(family.architecture.name) of transformers; export as GGUF, which keeps it"
        )
    }
}
