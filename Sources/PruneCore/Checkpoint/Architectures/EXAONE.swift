// SPDX-License-Identifier: Apache-2.0
extension Architecture {
    /// Norms of the updates, none before the sublayers; where there are windows, only the blocks that have one turn their
    /// heads.
    static let exaone4 = Architecture("Exaone4ForCausalLM", type: "exaone4", block: "Exaone4DecoderLayer") {
        $0.keys.missingKVHeadCount = 32
        $0.names.attention = SublayerModules(modules: ["self_attn"], after: "post_attention_layernorm")
        $0.names.feedForward = SublayerModules(modules: ["mlp"], after: "post_feedforward_layernorm")
        $0.norm.missingEpsilon = 1e-5
        $0.attention.hasHeadNorms = .fixed(true)
        $0.windows = .allButEvery(4, key: "sliding_window_pattern", missing: 4096)
        $0.rotary.blocks = .windowed(orAll: true)
    }
}
