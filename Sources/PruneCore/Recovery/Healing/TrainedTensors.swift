// SPDX-License-Identifier: Apache-2.0
/// The tensors of a model that a healing trains, and how far down it reaches.
struct TrainedTensors {
    /// Whole tensors as the model stores them, each once, in the order of the model.
    let stored: [StoredTensor]
    /// Whether the head becomes a matrix of its own, which starts as the embedding: the last of `stored`.
    let unties: Bool
    /// The lowest sublayer that runs and has one of them; the count of sublayers if none has.
    let lowest: Int
    /// Whether gradients reach the embedding.
    let reachesEmbedding: Bool

    /// - Parameter mask: the sublayers of the model itself that run.
    /// Errors: `.argument` if head and embedding are one matrix and that does not fit, or the model has nothing of a name.
    init(_ model: NativeModel, _ names: TrainedNames, untie: Bool, under mask: KeepMask) throws(PruneError) {
        let weights = model.weights
        let isTied = model.config.tiesEmbeddings
        try names.checkHead(isTied: isTied, untie: untie)
        var found: [StoredTensor] = []
        var known: Set<String> = []
        func add(_ tensors: [StoredTensor]) {
            for tensor in tensors where known.insert(tensor.name).inserted { found.append(tensor) }
        }
        if names.everything {
            add(weights.embeddingTensors)
        } else if names.embedding {
            add([weights.embedding.tensor])
        }
        for sublayer in mask.kept {
            let own = weights.sublayers[sublayer]
            if names.sublayers.contains(sublayer) {
                add(own.tensors)
            } else if names.norms {
                let norms = [own.before, own.after, own.last, own.attention?.queryNorm, own.attention?.keyNorm]
                let wanted = Set(norms.flatMap { $0?.tensors.map(\.name) ?? [] })
                add(own.tensors.filter { wanted.contains($0.name) })
            }
        }
        if names.everything { add(weights.headTensors.filter { $0.name != weights.head.tensor.name }) }
        if names.finalNorm {
            let norm = weights.finalNorm?.tensors ?? []
            guard names.norms || !norm.isEmpty else {
                throw PruneError(
                    .argument,
                    "train names final_norm, of which \(model.config.architecture.name) has no weights: leave it out")
            }
            add(norm)
        }
        if names.head, let bias = weights.headBias { add([bias.tensor]) }
        if names.head, !isTied || untie {
            add([isTied ? weights.head.tensor.renamed(model.config.architecture.headName) : weights.head.tensor])
        }
        guard !found.isEmpty else {
            throw PruneError(.argument, "train names nothing that the model has weights of")
        }
        stored = found
        unties = isTied && untie && names.head
        let trained = known
        lowest =
            mask.kept.first { sublayer in weights.sublayers[sublayer].tensors.contains { trained.contains($0.name) } }
            ?? model.shape.sublayerCount
        reachesEmbedding = weights.embeddingTensors.contains { trained.contains($0.name) }
    }

    var parameterCount: Int { stored.reduce(0) { $0 + $1.elementCount } }
}
