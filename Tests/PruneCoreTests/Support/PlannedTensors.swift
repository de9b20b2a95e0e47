// SPDX-License-Identifier: Apache-2.0
@testable import PruneCore

/// A tensor that a model's plan names, and what it is for.
struct PlannedTensor {
    let name: String
    let shape: [Int]
    let use: Use

    enum Use {
        case embedding
        case head
        /// With so many inputs for each output.
        case matrix(inputs: Int)
        case bias
        /// What makes a gain of 1 of it.
        case gain(neutral: Float)
    }
}

/// Every tensor that a model needs, each once, in the order in which the plans name them; those of its adapters last.
func plannedTensors(_ config: ModelConfig) -> [PlannedTensor] {
    var found: [PlannedTensor] = []
    func add(_ name: String, _ shape: [Int], _ use: PlannedTensor.Use) {
        if !found.contains(where: { $0.name == name }) {
            found.append(PlannedTensor(name: name, shape: shape, use: use))
        }
    }
    func add(_ plan: ProjectionPlan?) {
        guard let plan else { return }
        add(plan.weight.tensor, plan.weight.shape, .matrix(inputs: plan.inputs))
        if let bias = plan.bias { add(bias.tensor, bias.shape, .bias) }
    }
    func add(_ plan: NormPlan?, width: Int) {
        guard let plan else { return }
        for name in plan.gains { add(name, plan.shape, .gain(neutral: 1 - plan.offset)) }
        if let bias = plan.bias { add(bias, [width], .bias) }
    }
    func add(_ plan: HeadNormPlan?, heads: Int) {
        guard let plan else { return }
        if case .head = plan.span {
            add(plan.norm, width: config.headSize)
        } else {
            add(plan.norm, width: heads * config.headSize)
        }
    }
    func add(_ plan: FeedForwardPlan?) {
        guard let plan else { return }
        for own in plan.projections + [plan.down] { add(own) }
    }

    add(config.architecture.embeddingName, [config.vocabularySize, config.embedding.width], .embedding)
    if let positions = config.embedding.positions {
        add(positions.tensor, [positions.rows, config.hiddenSize], .embedding)
    }
    add(config.embedding.projection)
    add(config.head.norm, width: config.hiddenSize)
    add(config.head.projection)
    if !config.tiesEmbeddings {
        add(config.architecture.headName, [config.vocabularySize, config.embedding.width], .head)
    }
    if let bias = config.head.bias { add(bias, [config.vocabularySize], .bias) }
    func add(_ update: SublayerPlan.Update) {
        switch update {
        case .attention(let attention):
            switch attention.inputs {
            case .separate(let query, let key, let value): for own in [query, key, value] { add(own) }
            case .headByHead(let all): add(all)
            }
            add(attention.output)
            add(attention.queryNorm, heads: config.headCount)
            add(attention.keyNorm, heads: config.kvHeadCount)
            if let sinks = attention.sinks { add(sinks, [config.headCount], .bias) }
        case .feedForward(let feedForward): add(feedForward)
        case .mixture(let mixture):
            add(mixture.router)
            for expert in mixture.experts { add(expert) }
            add(mixture.shared)
            add(mixture.sharedGate)
        }
    }
    for block in 0..<config.blockCount {
        let sublayers = config.sublayers[2 * block..<2 * block + 2]
        let present = sublayers.indices.filter { !config.absent.places.contains($0) }
        for (index, plan) in zip(sublayers.indices, sublayers) {
            for norm in present.contains(index) ? [plan.before, plan.after, plan.last] : [plan.last] {
                add(norm, width: config.hiddenSize)
            }
        }
        for index in present { add(sublayers[index].update) }
    }
    for plan in config.absent.adapters.sorted(by: { $0.key < $1.key }).map(\.value) {
        add(plan.norm, width: config.hiddenSize)
        if !plan.mayLackBias { add(plan.bias[0], [config.hiddenSize], .bias) }
        for (part, names) in zip(AdapterPart.parameters(of: plan.kind).dropFirst(), plan.matrices) {
            let shape = Adapter.shape(of: part, width: config.hiddenSize, rank: plan.rank)
            add(names[0], shape, .matrix(inputs: shape[1]))
        }
    }
    return found
}
