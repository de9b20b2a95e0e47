// SPDX-License-Identifier: Apache-2.0
/// What sets one model family apart from others: a row of names, keys and switches. A row starts as Llama and says what
/// differs; reading a config.json by it gives a `SublayerPlan` for every sublayer.
///
/// Source of each row: `configuration_*.py` and `modeling_*.py` of the family in Hugging Face transformers 5.
public struct Architecture: Sendable {
    /// The name that config.json gives under `architectures`, such as "LlamaForCausalLM".
    public let name: String
    /// The name that config.json gives under `model_type`.
    let modelType: String
    /// The class of a block in transformers.
    let blockClass: String
    /// Whether the engine computes it. If not, the row says how blocks are made of modules, for those who run these.
    var isComputed = true
    /// Keys of config.json that make blocks something else than these two sublayers where they are true.
    var otherBlocksIf: [String] = []

    var names = TensorNames()
    var keys = SizeKeys()
    var norm = NormRule()
    var attention = AttentionRule()
    var rotary = RotaryRule()
    var windows = WindowRule.none
    var feedForward = FeedForwardRule()
    /// nil = every feed-forward is dense.
    var mixture: MixtureRule?
    /// Whether the feed-forward reads what attention reads: the hidden state before the block.
    var isParallel = Setting.fixed(false)
    /// Whether both norms of a parallel block are one, that of attention.
    var sharesParallelNorm = false
    /// On the update of every sublayer.
    var updateScale = Setting<Double>.fixed(1)
    var embedding = EmbeddingRule()
    var head = HeadRule()

    init(_ name: String, type: String, block: String, _ differ: (inout Architecture) -> Void = { _ in }) {
        self.name = name
        modelType = type
        blockClass = block
        differ(&self)
    }
}

/// Names of the keys that give sizes, and what keys that are left out stand for.
struct SizeKeys: Sendable {
    var hiddenSize = "hidden_size"
    var blockCount = "num_hidden_layers"
    var headCount = "num_attention_heads"
    /// nil = as many as query heads, whatever config.json says.
    var kvHeadCount: String? = "num_key_value_heads"
    /// nil = as many as query heads.
    var missingKVHeadCount: Int?
    /// nil = hidden size / query heads, whatever config.json says.
    var headSize: String? = "head_dim"
    /// nil = hidden size / query heads.
    var missingHeadSize: Int?
    var contextLength = "max_position_embeddings"
    var missingContextLength = 2048
    var vocabularySize = "vocab_size"
}

struct NormRule: Sendable {
    var kind = NormKind.rootMeanSquare
    /// Added to the stored gain.
    var offset: Float = 0
    var hasGain = Setting.fixed(true)
    var hasBias = false
    var epsilonKey: String? = "rms_norm_eps"
    var missingEpsilon = 1e-6
    var placing = Placing.beforeSublayers

    enum Placing: Sendable {
        case beforeSublayers
        /// Where the key is false, the norms of all blocks follow the sum, and the model has none at its end.
        case beforeIf(String, missing: Bool)
        /// By the keys `norm_type` and `post_num`: see `NormTypes`.
        case declared
    }
}

struct AttentionRule: Sendable {
    /// Of query, key and value.
    var inputBias = Setting.fixed(false)
    var outputBias = Setting.fixed(false)
    /// Whether queries and keys are normed.
    var hasHeadNorms = Setting.fixed(false)
    var headNormSpan = HeadNormPlan.Span.head
    /// nil = the kind of the other norms.
    var headNormKind: NormKind?
    var headNormHasBias = false
    /// Whether each head's gain is a tensor of its own, `norms.0` and on.
    var separatesHeadNorms = false
    var scale = ScaleRule.headSize
    var softCap = Setting<Double?>.fixed(nil)
    var clip = Setting<Double?>.fixed(nil)
    var hasSinks = false

    enum ScaleRule: Sendable {
        /// 1 / sqrt(head size)
        case headSize
        /// The key's number.
        case key(String, missing: Double)
        /// 1 / sqrt(the key's number)
        case inverseRoot(String, missing: Double)
        /// 1 / sqrt(head size), if a key is true divided by the number of the block, from 1.
        case headSizeAndBlock(String)
    }
}

struct FeedForwardRule: Sendable {
    var sizeKey = "intermediate_size"
    /// Of the hidden size, where the key is missing or null; nil = it must be there.
    var missingMultiple: Int?
    var hasBias = Setting.fixed(false)
    var activationKey = "hidden_act"
    var missingActivation = "silu"
    /// Names that the family takes for others.
    var activationNames: [String: String] = [:]
}

struct MixtureRule: Sendable {
    /// The first that is there counts.
    var expertCountKeys: [String]
    /// nil = a model without the key is dense.
    var missingExpertCount: Int?
    var chosenCountKey: String
    var missingChosenCount: Int
    var sizeKey = "moe_intermediate_size"
    var router: String
    var routerHasBias = false
    /// Whether the weights of the chosen experts are divided by their sum.
    var isNormalised: Setting<Bool>
    var experts: Experts
    var shared: Shared?
    /// nil = every block has a mixture.
    var sparseStepKey: String?
    var denseBlocksKey: String?
    /// Keys of limit and slope of `Activation.clamped`; nil = the activation is as `FeedForwardRule` says.
    var clamp: (limit: Setting<Double>, slope: Setting<Double>)?

    enum Experts: Sendable {
        /// A tensor for each matrix: "<path>.<number>.<name>".
        case separate(path: String, gate: String, up: String, down: String)
        /// [experts, gates and then ups, inputs], and [experts, outputs, inputs].
        case stacked(inner: String, down: String)
        /// [experts, inputs, gate and up by turns], with biases: gpt-oss.
        case alternating(inner: String, down: String)
    }

    struct Shared: Sendable {
        var sizeKey: String
        /// nil = the key must be there.
        var missingSize: Int?
        var inner: TensorNames.Inner
        var down: String
        /// Of its weight; nil = it counts in full.
        var gate: String?
    }
}

struct EmbeddingRule: Sendable {
    var scale = Scale.none
    /// Learned positions begin at this row of theirs.
    var positionOffset: Int?
    /// A key with the width of the table, and the module that takes its rows to the hidden size.
    var width: (key: String, into: String)?

    enum Scale: Sendable {
        case none
        /// sqrt(hidden size)
        case rootOfWidth
        case key(String, missing: Double)
    }
}

struct HeadRule: Sendable {
    var isTied = Setting.key("tie_word_embeddings", missing: false)
    var hasBias = false
    /// On all logits.
    var scale = Scale.none
    var softCap = Setting<Double?>.fixed(nil)
    /// The module that takes hidden states to the width of the embedding's table, where that differs.
    var projection: String?

    enum Scale: Sendable {
        case none
        case times(String, missing: Double)
        case over(String, missing: Double)
    }
}
