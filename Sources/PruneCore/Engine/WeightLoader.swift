// SPDX-License-Identifier: Apache-2.0
/// Finds the tensors that plans ask for, checked for shape, and remembers which they were.
struct WeightLoader {
    private let table: TensorTable
    /// Every tensor that was asked for since the last `takeTensors`, each once, in the order of the asking.
    private var found: [StoredTensor] = []
    private var names: Set<String> = []
    /// One table of angles for equal parameters.
    private var rotaryTables: [RotaryTable] = []

    init(_ table: TensorTable) { self.table = table }

    mutating func takeTensors() -> [StoredTensor] {
        defer { (found, names) = ([], []) }
        return found
    }

    private mutating func tensor(_ name: String, shape: [Int]) throws(PruneError) -> StoredTensor {
        let tensor = try table.tensor(name, shape: shape)
        if names.insert(name).inserted { found.append(tensor) }
        return tensor
    }

    mutating func vector(_ name: String, _ count: Int) throws(PruneError) -> StoredVector {
        StoredVector(tensor: try tensor(name, shape: [count]))
    }

    mutating func matrix(_ name: String, _ rows: Int, _ columns: Int) throws(PruneError) -> StoredMatrix {
        StoredMatrix(try tensor(name, shape: [rows, columns]), rows: rows, columns: columns)
    }

    mutating func norm(_ plan: NormPlan?, width: Int) throws(PruneError) -> Norm? {
        guard let plan else { return nil }
        var gains: [StoredTensor] = []
        for name in plan.gains { gains.append(try tensor(name, shape: plan.shape)) }
        let bias = try plan.bias.map { name throws(PruneError) in try tensor(name, shape: [width]) }
        return Norm(plan: plan, gains: gains, bias: bias, count: width)
    }

    mutating func projection(_ plan: ProjectionPlan) throws(PruneError) -> Projection {
        if let name = plan.absentBias { try table.refuseBias(name) }
        let place = plan.weight
        let whole = try tensor(place.tensor, shape: place.shape)
        let (outputs, inputs) = (place.first..<place.first + plan.outputs, 0..<plan.inputs)
        let rows = place.isTransposed ? inputs : outputs
        let columns = place.isTransposed ? outputs : inputs
        let part = try whole.part(index: place.expert, rows: rows, columns: columns)
        return Projection(
            weight: StoredMatrix(part, rows: rows.count, columns: columns.count), isTransposed: place.isTransposed,
            bias: try plan.bias.map { place throws(PruneError) in
                let whole = try tensor(place.tensor, shape: place.shape)
                return StoredVector(
                    tensor: try whole.part(row: place.expert, place.first..<place.first + plan.outputs))
            })
    }

    // MARK: Sublayers

    mutating func sublayer(_ plan: SublayerPlan, _ config: ModelConfig) throws(PruneError) -> SublayerWeights {
        _ = takeTensors()
        let update: SublayerWeights.Update =
            switch plan.update {
            case .attention(let attention): .attention(try self.attention(attention, config))
            case .feedForward(let feedForward): .feedForward(try self.feedForward(feedForward))
            case .mixture(let mixture): .mixture(try self.mixture(mixture))
            }
        let width = config.hiddenSize
        let (before, after, last) = (
            try norm(plan.before, width: width), try norm(plan.after, width: width), try norm(plan.last, width: width)
        )
        return SublayerWeights(
            plan, before: before, after: after, last: last, update: update, tensors: takeTensors())
    }

    /// Of a sublayer that is no part of the model: the norm of the sum stays.
    mutating func absentSublayer(_ plan: SublayerPlan, _ config: ModelConfig) throws(PruneError) -> SublayerWeights {
        _ = takeTensors()
        let last = try norm(plan.last, width: config.hiddenSize)
        return SublayerWeights(plan, before: nil, after: nil, last: last, update: .absent, tensors: takeTensors())
    }

    private mutating func attention(
        _ plan: AttentionPlan, _ config: ModelConfig
    ) throws(PruneError) -> AttentionWeights {
        var inputs: [Projection] = []
        switch plan.inputs {
        case .separate(let query, let key, let value):
            for own in [query, key, value] { inputs.append(try projection(own)) }
        case .headByHead(let all): inputs = [try projection(all)]
        }
        let output = try projection(plan.output)
        func width(_ norm: HeadNormPlan, _ heads: Int) -> Int {
            if case .head = norm.span { config.headSize } else { heads * config.headSize }
        }
        let queryNorm = try plan.queryNorm.flatMap { own throws(PruneError) in
            try norm(own.norm, width: width(own, config.headCount))
        }
        let keyNorm = try plan.keyNorm.flatMap { own throws(PruneError) in
            try norm(own.norm, width: width(own, config.kvHeadCount))
        }
        return AttentionWeights(
            plan, inputs: inputs, output: output, queryNorm: queryNorm, keyNorm: keyNorm,
            sinks: try plan.sinks.map { name throws(PruneError) in try vector(name, config.headCount) },
            rotary: plan.rotary.map { rotaryTable($0) })
    }

    private mutating func rotaryTable(_ parameters: RotaryParameters) -> RotaryTable {
        if let known = rotaryTables.first(where: { $0.parameters == parameters }) { return known }
        let table = RotaryTable(parameters)
        rotaryTables.append(table)
        return table
    }

    private mutating func feedForward(_ plan: FeedForwardPlan) throws(PruneError) -> FeedForwardWeights {
        let inputs: FeedForwardWeights.Inputs =
            switch plan.inputs {
            case .gated(let gate, let up): .gated(gate: try projection(gate), up: try projection(up))
            case .alternating(let both): .alternating(try projection(both))
            case .plain(let only): .plain(try projection(only))
            }
        return FeedForwardWeights(inputs: inputs, down: try projection(plan.down), activation: plan.activation)
    }

    private mutating func mixture(_ plan: MixturePlan) throws(PruneError) -> MixtureWeights {
        let router = try projection(plan.router)
        var experts: [FeedForwardWeights] = []
        for expert in plan.experts { experts.append(try feedForward(expert)) }
        return MixtureWeights(
            plan, router: router, experts: experts,
            shared: try plan.shared.map { shared throws(PruneError) in try feedForward(shared) },
            sharedGate: try plan.sharedGate.map { gate throws(PruneError) in try projection(gate) })
    }
}
