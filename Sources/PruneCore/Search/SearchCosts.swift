// SPDX-License-Identifier: Apache-2.0
/// What one token takes in one place of a model, in milliseconds.
public struct TokenTime: Sendable, Equatable {
    /// As one of many tokens of a prompt.
    public var prefill: Double
    /// As the next one, after those in the cache.
    public var decode: Double

    public init(prefill: Double, decode: Double) {
        self.prefill = prefill
        self.decode = decode
    }
}

/// What the parts of a model cost: all that a search needs to know of it.
///
/// No sum of these numbers overflows: a model has at most 2 * `KeepMask.mostBlocks` sublayers, and no number is above 2^48.
public struct SearchCosts: Sendable, Equatable {
    /// Of embeddings, final norm and head: what no mask removes.
    let fixed: ModelCost
    /// For each sublayer what it adds; `sublayersRemoved` is 0.
    let sublayers: [ModelCost]
    /// Whether only whole blocks can be removed.
    let hasWholeBlocks: Bool

    var blockCount: Int { sublayers.count / 2 }

    public init(_ shape: ModelShape) {
        fixed = ModelCost(parameters: shape.fixedParameters, parameterBytes: shape.fixedParameterBytes)
        sublayers = shape.sublayers.map {
            ModelCost(parameters: $0.parameters, parameterBytes: $0.parameterBytes, keyValueBytes: $0.keyValueBytes)
        }
        hasWholeBlocks = shape.hasWholeBlocks
    }

    init(fixed: ModelCost, sublayers: [ModelCost], hasWholeBlocks: Bool) {
        self.fixed = fixed
        self.sublayers = sublayers
        self.hasWholeBlocks = hasWholeBlocks
    }

    /// What is left under a mask of as many sublayers.
    func cost(under mask: KeepMask) -> ModelCost {
        var cost = fixed
        for (sublayer, own) in sublayers.enumerated() {
            guard mask.keeps(sublayer) else {
                cost.sublayersRemoved += 1
                continue
            }
            cost.parameters += own.parameters
            cost.parameterBytes += own.parameterBytes
            cost.keyValueBytes += own.keyValueBytes
        }
        return cost
    }
}
