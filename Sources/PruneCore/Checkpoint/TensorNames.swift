// SPDX-License-Identifier: Apache-2.0
/// What a tensor of a block is for.
enum TensorRole: Sendable, CaseIterable {
    /// Of the attention sublayer. The norms of query and key are there only in some architectures.
    case inputNorm, query, key, value, output, queryNorm, keyNorm
    /// Of the feed-forward sublayer.
    case postAttentionNorm, gate, up, down
}

/// Names that a model family gives its tensors: a path per role, to which ".weight" or ".bias" is added.
struct TensorNames: Sendable {
    /// Of all names but the head's: that of the model without its head.
    let prefix: String
    let embedding: String
    let finalNorm: String
    let head: String
    /// What comes before the index of a block; a dot and one of the paths below follow it.
    let blocks: String
    let inputNorm: String
    let query: String
    let key: String
    let value: String
    let output: String
    let queryNorm: String
    let keyNorm: String
    let postAttentionNorm: String
    let gate: String
    let up: String
    let down: String

    /// The path of a role in a block.
    func path(of role: TensorRole, block: Int) -> String {
        let own =
            switch role {
            case .inputNorm: inputNorm
            case .query: query
            case .key: key
            case .value: value
            case .output: output
            case .queryNorm: queryNorm
            case .keyNorm: keyNorm
            case .postAttentionNorm: postAttentionNorm
            case .gate: gate
            case .up: up
            case .down: down
            }
        return "\(blocks).\(block).\(own)"
    }

    /// As transformers names the modules of Llama and of the families derived from it.
    static let llama = TensorNames(
        prefix: "model.",
        embedding: "model.embed_tokens",
        finalNorm: "model.norm",
        head: "lm_head",
        blocks: "model.layers",
        inputNorm: "input_layernorm",
        query: "self_attn.q_proj",
        key: "self_attn.k_proj",
        value: "self_attn.v_proj",
        output: "self_attn.o_proj",
        queryNorm: "self_attn.q_norm",
        keyNorm: "self_attn.k_norm",
        postAttentionNorm: "post_attention_layernorm",
        gate: "mlp.gate_proj",
        up: "mlp.up_proj",
        down: "mlp.down_proj")
}
