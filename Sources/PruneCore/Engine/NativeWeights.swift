// SPDX-License-Identifier: Apache-2.0
/// All weights of a model, found by the names of its plan and checked for shape.
struct NativeWeights: Sendable {
    let embedding: StoredMatrix
    /// Learned positions; nil = none.
    let positions: StoredMatrix?
    /// From the width of the embedding to that of the residual stream; nil = they are the same.
    let embeddingProjection: Projection?
    /// Attention and feed-forward of each block.
    let sublayers: [SublayerWeights]
    /// Whether norms follow the sums of some.
    let normsSums: Bool
    let finalNorm: Norm?
    /// From the width of the residual stream to that of the embedding; nil = they are the same.
    let headProjection: Projection?
    let head: StoredMatrix
    let headBias: StoredVector?
    /// Whether they lie in mapped files, which the system may drop from memory and read again.
    let areMapped: Bool
    /// The mapped files that each sublayer lies in, and those of what is before and after the sublayers.
    let files: (sublayers: [[MappedFile]], embedding: [MappedFile], head: [MappedFile])
    /// What is stored before the sublayers, and after them but for a head that is the embedding.
    let embeddingTensors, headTensors: [StoredTensor]

    /// Errors: `.format` for a missing tensor or a wrong shape, `.unsupported` for an element type, naming the tensor.
    init(_ config: ModelConfig, _ tensors: TensorTable) throws(PruneError) {
        var loader = WeightLoader(tensors)
        let names = config.architecture
        let table = config.embedding.width
        embedding = try loader.matrix(names.embeddingName, config.vocabularySize, table)
        positions = try config.embedding.positions.map { own throws(PruneError) in
            try loader.matrix(own.tensor, own.rows, config.hiddenSize)
        }
        embeddingProjection = try config.embedding.projection.map { own throws(PruneError) in
            try loader.projection(own)
        }
        embeddingTensors = loader.takeTensors()
        var sublayers: [SublayerWeights] = []
        for (index, plan) in config.sublayers.enumerated() {
            sublayers.append(
                config.absent.places.contains(index)
                    ? try loader.absentSublayer(plan, config) : try loader.sublayer(plan, config))
        }
        self.sublayers = sublayers
        normsSums = sublayers.contains { $0.last != nil }
        finalNorm = try loader.norm(config.head.norm, width: config.hiddenSize)
        headProjection = try config.head.projection.map { own throws(PruneError) in try loader.projection(own) }
        areMapped = embedding.tensor.mappedFile != nil
        // A host may give head and embedding as two tensors that are equal now, and change one of them later; of a file,
        // one is enough.
        let usesEmbedding = config.tiesEmbeddings && (areMapped || !tensors.contains(names.headName))
        head = usesEmbedding ? embedding : try loader.matrix(names.headName, config.vocabularySize, table)
        headBias = try config.head.bias.map { name throws(PruneError) in
            try loader.vector(name, config.vocabularySize)
        }
        let after = loader.takeTensors()
        headTensors = config.tiesEmbeddings ? after.filter { $0.name != names.headName } : after
        files = (
            sublayers.map { Self.files(of: $0.tensors) }, Self.files(of: embeddingTensors),
            Self.files(of: after + [head.tensor])
        )
    }

    /// The mapped files that some tensors lie in, each once.
    private static func files(of tensors: [StoredTensor]) -> [MappedFile] {
        var files: [MappedFile] = []
        for case let file? in tensors.map(\.mappedFile) where !files.contains(where: { $0 === file }) {
            files.append(file)
        }
        return files
    }

    /// The matrices of a sublayer.
    func projections(ofSublayer sublayer: Int) -> [Projection] { sublayers[sublayer].projections }

    /// Every tensor of a sublayer.
    func tensors(ofSublayer sublayer: Int) -> [StoredTensor] { sublayers[sublayer].tensors }

    /// Counts what each sublayer owns: of a shared weight its factors.
    func shape(_ config: ModelConfig, _ sharing: SharedWeights) -> ModelShape {
        func parameters(_ tensors: [StoredTensor]) -> Int { tensors.reduce(0) { $0 + sharing.elementCount(of: $1) } }
        func bytes(_ tensors: [StoredTensor]) -> Int { tensors.reduce(0) { $0 + sharing.byteCount(of: $1) } }
        // A norm that both sublayers of a block read goes with neither, and that of a sum stays.
        let staying = sublayers.indices.map { index in
            let other = Set(sublayers[index ^ 1].tensors.map(\.name))
            let last = Set((sublayers[index].last?.tensors ?? []).map(\.name))
            return sublayers[index].tensors.filter { last.contains($0.name) || other.contains($0.name) }
        }
        let costs = sublayers.enumerated().map { index, sublayer in
            let own = sublayer.tensors.filter { tensor in !staying[index].contains { $0.name == tensor.name } }
            let keyValues = sublayer.attention.map {
                2 * config.kvHeadCount * config.headSize
                    * $0.inputs[$0.inputs.count / 2].weight.tensor.elementType.cacheBytes
            }
            return SublayerCost(
                parameters: parameters(own), activeParameters: parameters(own) - sublayer.idleParameters,
                parameterBytes: bytes(own), keyValueBytes: keyValues ?? 0,
                window: sublayer.isAbsent ? nil : sublayer.plan.window)
        }
        var names: Set<String> = []
        let fixed = embeddingTensors + headTensors + staying.flatMap(\.self).filter { names.insert($0.name).inserted }
        var elementsOfType: [ElementType: Int] = [:]
        for tensor in fixed + sublayers.flatMap(\.tensors) {
            elementsOfType[sharing.storedType(of: tensor), default: 0] += tensor.elementCount
        }
        let usual = elementsOfType.max { ($0.value, $0.key.rawValue) < ($1.value, $1.key.rawValue) }?.key ?? .float32
        return ModelShape(
            architecture: config.architecture.name, elementType: usual, blockCount: config.blockCount,
            hiddenSize: config.hiddenSize, feedForwardSize: config.feedForwardSize, headCount: config.headCount,
            kvHeadCount: config.kvHeadCount, headSize: config.headSize, vocabularySize: config.vocabularySize,
            contextLength: config.contextLength, tiesEmbeddings: config.tiesEmbeddings,
            fixedParameters: parameters(fixed), fixedParameterBytes: bytes(fixed), sublayers: costs,
            absent: config.absent.places)
    }
}

extension ElementType {
    /// Bytes of a key or value in a cache beside weights of this type: theirs; beside quantised ones those of fp16, as
    /// llama.cpp has it.
    fileprivate var cacheBytes: Int { isQuantised ? 2 : blockBytes }
}

extension SublayerWeights {
    /// Parameters that one token does not meet: those of experts that are not chosen for it.
    fileprivate var idleParameters: Int {
        guard case .mixture(let mixture) = update, let expert = mixture.experts.first else { return 0 }
        let own = expert.projections.reduce(0) {
            $0 + $1.weight.rows * $1.weight.columns + ($1.bias?.tensor.elementCount ?? 0)
        }
        return own * (mixture.experts.count - mixture.plan.chosenCount)
    }
}
