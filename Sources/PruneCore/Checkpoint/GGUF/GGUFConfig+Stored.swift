// SPDX-License-Identifier: Apache-2.0
extension GGUFConfig {
    /// The row of the family with the names, layouts and values that tensors have in the file.
    ///
    /// Gains are stored with what the family adds to them, matrices outputs x inputs, the projections of all experts as one
    /// tensor, and rows of queries and keys in the order in which the architecture turns heads. Biases are there or not,
    /// whatever the family has: llama.cpp adds those that it finds.
    var stored: Architecture {
        let file = facts
        var row = family
        row.names.rename(in: file)
        row.norm.offset = 0
        if case .declared = row.norm.placing { row.norm.placing = .beforeSublayers }
        row.attention.separatesHeadNorms = false
        row.rotary.pairing = file.architecture.pairing
        row.head.hasBias = file.names.contains("output.bias")
        row.mixture?.router = "ffn_gate_inp"
        row.mixture?.experts = .apart(gate: "ffn_gate_exps", up: "ffn_up_exps", down: "ffn_down_exps")
        row.mixture?.shared?.inner = .gated(gate: "ffn_gate_shexp", up: "ffn_up_shexp")
        row.mixture?.shared?.down = "ffn_down_shexp"
        if row.mixture?.shared?.gate != nil { row.mixture?.shared?.gate = "ffn_gate_inp_shexp" }
        return row
    }

    /// The configuration of the model as the file stores it. Errors: as `ModelConfig.parse`.
    func modelConfig() throws(PruneError) -> ModelConfig {
        try ModelConfig.parse(
            Array(text.utf8), path: facts.file.path, as: stored, feedForwardSizes: layers.feedForwardSizes,
            absent: layers.absent)
    }

    /// The configuration of the same model as transformers stores it. Errors: as `ModelConfig.parse`.
    func familyConfig() throws(PruneError) -> ModelConfig {
        try ModelConfig.parse(
            Array(text.utf8), path: facts.file.path, as: family, feedForwardSizes: layers.feedForwardSizes,
            absent: layers.absent)
    }
}

extension TensorNames {
    fileprivate mutating func rename(in file: GGUFFacts) {
        prefix = ""
        embedding = "token_embd"
        if positions != nil { positions = "position_embd" }
        finalNorm = "output_norm"
        head = "output"
        blocks = "blk"
        storesTransposed = false
        storedBiases = Set(file.names.filter { $0.hasSuffix(".bias") })
        if attention.before != nil { attention.before = "attn_norm" }
        if attention.after != nil { attention.after = "post_attention_norm" }
        if feedForward.before != nil { feedForward.before = file.architecture.feedForwardNorm }
        if feedForward.after != nil { feedForward.after = "post_ffw_norm" }
        projections =
            file.layers(with: "attn_qkv.weight") > 0
            ? .stacked("attn_qkv") : .separate(query: "attn_q", key: "attn_k", value: "attn_v")
        output = "attn_output"
        queryNorm = "attn_q_norm"
        keyNorm = "attn_k_norm"
        sinks = "attn_sinks.weight"
        switch inner {
        case .plain: inner = .plain("ffn_up")
        case .gated, .stacked:
            inner =
                file.layers(with: "ffn_gate.weight") > 0
                ? .gated(gate: "ffn_gate", up: "ffn_up") : .stacked("ffn_up")
        }
        down = "ffn_down"
    }
}
