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
