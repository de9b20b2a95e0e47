// SPDX-License-Identifier: Apache-2.0
/// One sublayer: what removing it saves.
public struct SublayerCost: Sendable {
    /// Its matrices, biases and norms, its pre-norm included; not those that stay where it is removed: one that both
    /// sublayers of a block read, and one of the sum.
    public let parameters: Int
    /// Those of them that one token meets: of a mixture, its experts that are not chosen left out.
    public let activeParameters: Int
    /// All, in bytes as stored.
    public let parameterBytes: Int
    /// Bytes of keys and values that one token adds to the cache; 0 for feed-forward.
    public let keyValueBytes: Int
    /// Attention: tokens that a query sees at most, itself included; nil = all before it.
    public let window: Int?

    /// - Parameter activeParameters: nil = all.
    public init(
        parameters: Int, activeParameters: Int? = nil, parameterBytes: Int, keyValueBytes: Int, window: Int?
    ) {
        self.parameters = parameters
        self.activeParameters = activeParameters ?? parameters
        self.parameterBytes = parameterBytes
        self.keyValueBytes = keyValueBytes
        self.window = window
    }
}

/// What is known of a model without running it.
public struct ModelShape: Sendable {
    public let architecture: String
    /// The storage type that most weights have.
    public let elementType: ElementType
    public let blockCount: Int
    public let hiddenSize: Int
    public let feedForwardSize: Int
    public let headCount: Int
    public let kvHeadCount: Int
    public let headSize: Int
    public let vocabularySize: Int
    /// Positions that the model was made for.
    public let contextLength: Int
    public let tiesEmbeddings: Bool
    /// Of embeddings, final norm and head: what no mask removes.
    public let fixedParameters: Int
    public let fixedParameterBytes: Int
    /// 2 * blockCount entries.
    public internal(set) var sublayers: [SublayerCost]
    /// Whether only whole blocks can be removed: the model does not run their sublayers one by one.
    public internal(set) var hasWholeBlocks = false
    /// Sublayers that are no part of the model: it was pruned before it was opened. They cost nothing.
    var absent: Set<Int> = []

    /// The model's own mask: keeps what is there.
    public var present: KeepMask { present(in: KeepMask(blocks: blockCount)) }

    /// A mask of this model as it is to be understood: what is not there is removed.
    public func present(in mask: KeepMask) -> KeepMask {
        absent.isEmpty ? mask : mask.removing(units: absent, .sublayer)
    }

    public var sublayerCount: Int { sublayers.count }

    /// Bytes of all weights as stored. Cannot overflow: they lie in memory, or in files mapped into it.
    public var parameterBytes: Int { sublayers.reduce(fixedParameterBytes) { $0 + $1.parameterBytes } }

    /// What is left under a mask.
    public func cost(under mask: KeepMask) -> ModelCost {
        var cost = ModelCost(
            parameters: fixedParameters, activeParameters: fixedParameters, parameterBytes: fixedParameterBytes)
        for (sublayer, own) in sublayers.enumerated() {
            guard mask.keeps(sublayer) else {
                cost.sublayersRemoved += 1
                continue
            }
            cost.parameters += own.parameters
            cost.activeParameters += own.activeParameters
            cost.parameterBytes += own.parameterBytes
            cost.keyValueBytes += own.keyValueBytes
        }
        return cost
    }

    /// Checks that a mask is for this model. Errors: `.argument` with both lengths; `.unsupported` if it takes a block
    /// apart that the model runs whole.
    public func check(_ mask: KeepMask) throws(PruneError) {
        guard mask.keeps.count == sublayerCount else {
            throw PruneError(
                .argument,
                "keep mask has \(mask.keeps.count) entries; this model has \(sublayerCount) sublayers (2 x \(blockCount) blocks)"
            )
        }
        guard hasWholeBlocks else { return }
        // Where one is absent, an adapter may stand for the block in the place of the other.
        let whole = (0..<blockCount).filter { !absent.contains(2 * $0) && !absent.contains(2 * $0 + 1) }
        if let block = whole.first(where: { mask.keeps(2 * $0) != mask.keeps(2 * $0 + 1) }) {
            throw PruneError(
                .unsupported,
                "the mask removes one sublayer of block \(block); this model's host runs whole blocks: keep both, or remove both"
            )
        }
    }
}

/// Parameters and cache of a model under a mask.
public struct ModelCost: Sendable, Equatable {
    public var sublayersRemoved = 0
    public var parameters: Int
    /// Those of them that one token meets.
    public var activeParameters: Int
    public var parameterBytes: Int
    /// Bytes of keys and values per token.
    public var keyValueBytes: Int

    /// - Parameter activeParameters: nil = all.
    public init(parameters: Int, activeParameters: Int? = nil, parameterBytes: Int, keyValueBytes: Int = 0) {
        self.parameters = parameters
        self.activeParameters = activeParameters ?? parameters
        self.parameterBytes = parameterBytes
        self.keyValueBytes = keyValueBytes
    }
}

extension ModelShape {
    /// What a host says of its model. What it does not say is 0.
    public init(
        host architecture: String, elementType: ElementType, blockCount: Int, hiddenSize: Int, vocabularySize: Int,
        contextLength: Int, fixedParameters: Int, fixedParameterBytes: Int, sublayers: [SublayerCost],
        hasWholeBlocks: Bool
    ) {
        self.init(
            architecture: architecture, elementType: elementType, blockCount: blockCount, hiddenSize: hiddenSize,
            feedForwardSize: 0, headCount: 0, kvHeadCount: 0, headSize: 0, vocabularySize: vocabularySize,
            contextLength: contextLength, tiesEmbeddings: false, fixedParameters: fixedParameters,
            fixedParameterBytes: fixedParameterBytes, sublayers: sublayers, hasWholeBlocks: hasWholeBlocks)
    }
}
