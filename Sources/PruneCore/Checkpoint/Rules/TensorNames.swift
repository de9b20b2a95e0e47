// SPDX-License-Identifier: Apache-2.0
/// Names that a model family gives its modules in transformers, and so its tensors: paths to which ".weight" or ".bias" is
/// added. Those of a block are relative to it.
struct TensorNames: Sendable {
    /// Of all names but the head's: that of the model without its head.
    var prefix = "model."
    var embedding = "model.embed_tokens"
    /// Learned positions.
    var positions: String?
    var finalNorm = "model.norm"
    var head = "lm_head"
    /// What comes before the index of a block.
    var blocks = "model.layers"

    var attention = SublayerModules(modules: ["self_attn"], before: "input_layernorm")
    var feedForward = SublayerModules(modules: ["mlp"], before: "post_attention_layernorm")

    var projections = Projections.separate(
        query: "self_attn.q_proj", key: "self_attn.k_proj", value: "self_attn.v_proj")
    /// Whether matrices are stored inputs x outputs.
    var storesTransposed = false
    var output = "self_attn.o_proj"
    var queryNorm = "self_attn.q_norm"
    var keyNorm = "self_attn.k_norm"
    var sinks = "self_attn.sinks"

    /// The biases that there are, by their full names, whatever settings say; nil = as settings say.
    var storedBiases: Set<String>?

    var inner = Inner.gated(gate: "mlp.gate_proj", up: "mlp.up_proj")
    var down = "mlp.down_proj"

    /// How a block stores queries, keys and values.
    enum Projections: Sendable {
        case separate(query: String, key: String, value: String)
        /// All queries, then all keys, then all values.
        case stacked(String)
        /// Query, key and value of the first head, then those of the next.
        case headByHead(String)
    }

    /// How a block stores what comes before the activation.
    enum Inner: Sendable {
        case gated(gate: String, up: String)
        /// All gates, then all ups.
        case stacked(String)
        /// There is no gate.
        case plain(String)
    }
}
