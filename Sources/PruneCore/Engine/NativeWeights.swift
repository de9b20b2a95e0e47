// SPDX-License-Identifier: Apache-2.0
/// A norm's gain or a projection's bias, as stored.
struct StoredVector: Sendable {
    let tensor: StoredTensor

    /// The elements in fp32, widened anew for every use: they are few, and a host that lends its weights may change them.
    func floats(_ scratch: BufferPool) throws(PruneError) -> FloatBuffer {
        let buffer = try scratch.buffer(tensor.elementCount)
        if let base = tensor.bytes.baseAddress {
            Kernels.widen(base, tensor.elementType, into: buffer.pointer, tensor.elementCount)
        }
        return buffer
    }
}

/// x -> weight * x + bias
struct Projection: Sendable {
    let weight: StoredMatrix
    let bias: StoredVector?
}

/// Root-mean-square norm: x -> gain * x / sqrt(mean(x^2) + epsilon)
struct Norm: Sendable {
    let gain: StoredVector
    let epsilon: Float
}

/// The weights of one attention sublayer, its pre-norm included.
struct AttentionWeights: Sendable {
    let norm: Norm
    let query, key, value, output: Projection
    /// Norms over each head of queries and keys (Qwen3).
    let queryNorm, keyNorm: Norm?
}

/// The weights of one gated feed-forward sublayer, its pre-norm included.
struct FeedForwardWeights: Sendable {
    let norm: Norm
    let gate, up, down: Projection
}

/// All weights of a model, found by the names of its architecture and checked for shape.
struct NativeWeights: Sendable {
    let embedding: StoredMatrix
    let attention: [AttentionWeights]
    let feedForward: [FeedForwardWeights]
    let finalNorm: Norm
    let head: StoredMatrix
    /// Whether they lie in mapped files, which the system may drop from memory and read again.
    let areMapped: Bool
    /// The mapped files that each sublayer lies in, and those of the embedding and of final norm and head.
    let files: (sublayers: [[MappedFile]], embedding: [MappedFile], head: [MappedFile])

    /// Errors: `.format` for a missing tensor or a wrong shape, `.unsupported` for an element type, naming the tensor.
    init(_ config: ModelConfig, _ tensors: TensorTable) throws(PruneError) {
        let names = config.architecture
        let width = config.hiddenSize
        let inner = config.feedForwardSize
        let queries = config.headCount * config.headSize
        let keys = config.kvHeadCount * config.headSize

        func vector(_ name: String, _ count: Int) throws(PruneError) -> StoredVector {
            StoredVector(tensor: try tensors.tensor(name, shape: [count]))
        }
        func matrix(_ name: String, _ rows: Int, _ columns: Int) throws(PruneError) -> StoredMatrix {
            StoredMatrix(try tensors.tensor(name, shape: [rows, columns]), rows: rows, columns: columns)
        }
        func norm(_ name: String, _ count: Int) throws(PruneError) -> Norm {
            Norm(gain: try vector(name, count), epsilon: config.normEpsilon)
        }
        func projection(
            _ role: TensorRole, _ block: Int, _ rows: Int, _ columns: Int, biased: Bool
        ) throws(PruneError) -> Projection {
            if !biased { try tensors.refuseBias(names.bias(role, block: block)) }
            return Projection(
                weight: try matrix(names.weight(role, block: block), rows, columns),
                bias: biased ? try vector(names.bias(role, block: block), rows) : nil)
        }

        embedding = try matrix(names.embedding, config.vocabularySize, width)
        var attention: [AttentionWeights] = []
        var feedForward: [FeedForwardWeights] = []
        for block in 0..<config.blockCount {
            let biased = config.hasQueryKeyValueBias
            let headNorms = config.hasQueryKeyNorm
            attention.append(
                AttentionWeights(
                    norm: try norm(names.weight(.inputNorm, block: block), width),
                    query: try projection(.query, block, queries, width, biased: biased),
                    key: try projection(.key, block, keys, width, biased: biased),
                    value: try projection(.value, block, keys, width, biased: biased),
                    output: try projection(.output, block, width, queries, biased: config.hasOutputBias),
                    queryNorm: headNorms ? try norm(names.weight(.queryNorm, block: block), config.headSize) : nil,
                    keyNorm: headNorms ? try norm(names.weight(.keyNorm, block: block), config.headSize) : nil))
            feedForward.append(
                FeedForwardWeights(
                    norm: try norm(names.weight(.postAttentionNorm, block: block), width),
                    gate: try projection(.gate, block, inner, width, biased: config.hasFeedForwardBias),
                    up: try projection(.up, block, inner, width, biased: config.hasFeedForwardBias),
                    down: try projection(.down, block, width, inner, biased: config.hasFeedForwardBias)))
        }
        self.attention = attention
        self.feedForward = feedForward
        finalNorm = try norm(names.finalNorm, width)
        areMapped = embedding.tensor.mappedFile != nil
        // A host may give head and embedding as two tensors that are equal now, and change one of them later; of a file,
        // one is enough.
        let usesEmbedding = config.tiesEmbeddings && (areMapped || !tensors.contains(names.head))
        head = usesEmbedding ? embedding : try matrix(names.head, config.vocabularySize, width)
        files = (
            (0..<2 * config.blockCount).map {
                Self.files(of: Self.tensors(ofSublayer: $0, attention, feedForward))
            }, Self.files(of: [embedding.tensor]), Self.files(of: [finalNorm.gain.tensor, head.tensor])
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

    /// The projections of a sublayer.
    func projections(ofSublayer sublayer: Int) -> [Projection] {
        Self.projections(ofSublayer: sublayer, attention, feedForward)
    }

    private static func projections(
        ofSublayer sublayer: Int, _ attention: [AttentionWeights], _ feedForward: [FeedForwardWeights]
    ) -> [Projection] {
        if sublayer % 2 == 0 {
            let own = attention[sublayer / 2]
            return [own.query, own.key, own.value, own.output]
        }
        let own = feedForward[sublayer / 2]
        return [own.gate, own.up, own.down]
    }

    /// Every tensor of a sublayer.
    func tensors(ofSublayer sublayer: Int) -> [StoredTensor] {
        Self.tensors(ofSublayer: sublayer, attention, feedForward)
    }

    private static func tensors(
        ofSublayer sublayer: Int, _ attention: [AttentionWeights], _ feedForward: [FeedForwardWeights]
    ) -> [StoredTensor] {
        var tensors = projections(ofSublayer: sublayer, attention, feedForward).flatMap {
            [$0.weight.tensor] + ($0.bias.map { [$0.tensor] } ?? [])
        }
        if sublayer % 2 == 0 {
            let own = attention[sublayer / 2]
            tensors += [own.norm.gain.tensor]
            tensors += [own.queryNorm, own.keyNorm].compactMap { $0?.gain.tensor }
        } else {
            tensors += [feedForward[sublayer / 2].norm.gain.tensor]
        }
        return tensors
    }

    /// Counts what each sublayer owns.
    func shape(_ config: ModelConfig) -> ModelShape {
        func parameters(_ tensors: [StoredTensor]) -> Int { tensors.reduce(0) { $0 + $1.elementCount } }
        func bytes(_ tensors: [StoredTensor]) -> Int { tensors.reduce(0) { $0 + $1.byteCount } }
        let sublayers = (0..<2 * config.blockCount).map { sublayer in
            let own = tensors(ofSublayer: sublayer)
            let isAttention = sublayer % 2 == 0
            let keyValues =
                isAttention
                ? 2 * config.kvHeadCount * config.headSize
                    * attention[sublayer / 2].key.weight.tensor.elementType.byteCount
                : 0
            return SublayerCost(
                parameters: parameters(own), parameterBytes: bytes(own), keyValueBytes: keyValues,
                window: isAttention ? config.windows[sublayer / 2] : nil)
        }
        let fixed = [embedding.tensor, finalNorm.gain.tensor] + (config.tiesEmbeddings ? [] : [head.tensor])
        var bytesOfType: [ElementType: Int] = [:]
        for tensor in fixed + (0..<2 * config.blockCount).flatMap({ tensors(ofSublayer: $0) }) {
            bytesOfType[tensor.elementType, default: 0] += tensor.elementCount
        }
        let usual = bytesOfType.max { ($0.value, $0.key.rawValue) < ($1.value, $1.key.rawValue) }?.key ?? .float32
        return ModelShape(
            architecture: config.architecture.name, elementType: usual, blockCount: config.blockCount,
            hiddenSize: config.hiddenSize, feedForwardSize: config.feedForwardSize, headCount: config.headCount,
            kvHeadCount: config.kvHeadCount, headSize: config.headSize, vocabularySize: config.vocabularySize,
            contextLength: config.contextLength, tiesEmbeddings: config.tiesEmbeddings,
            fixedParameters: parameters(fixed), fixedParameterBytes: bytes(fixed), sublayers: sublayers)
    }
}
