// SPDX-License-Identifier: Apache-2.0
extension Architecture {
    static let gemma = Architecture("GemmaForCausalLM", type: "gemma", block: "GemmaDecoderLayer") {
        $0.makeGemma()
        $0.keys.missingKVHeadCount = 16
        $0.feedForward.missingActivation = "gelu_pytorch_tanh"
        // What the first configurations call so is its approximation.
        $0.feedForward.activationNames = ["gelu": "gelu_pytorch_tanh"]
    }

    static let gemma2 = Architecture("Gemma2ForCausalLM", type: "gemma2", block: "Gemma2DecoderLayer") {
        $0.makeGemma2()
        $0.attention.softCap = .key("attn_logit_softcapping", missing: 50)
        $0.head.softCap = .key("final_logit_softcapping", missing: 30)
        $0.windows = .allButEvery(2, key: nil, missing: 4096)
    }

    static let gemma3 = Architecture("Gemma3ForCausalLM", type: "gemma3_text", block: "Gemma3DecoderLayer") {
        $0.makeGemma2()
        $0.keys.missingContextLength = 131_072
        $0.attention.hasHeadNorms = .fixed(true)
        $0.head.softCap = .key("final_logit_softcapping", missing: nil)
        $0.windows = .allButEvery(6, key: "sliding_window_pattern", missing: 4096)
        $0.rotary.missingBase = 1_000_000
        $0.rotary.windowed = RotaryRule.Windowed(baseKey: "rope_local_base_freq", missingBase: 10_000)
    }

    /// Norms by 1 + what is stored, and embeddings times the square root of their width.
    private mutating func makeGemma() {
        keys.missingHeadSize = 256
        keys.missingContextLength = 8192
        norm.offset = 1
        attention.declareBias()
        embedding.scale = .rootOfWidth
        head.isTied = .key("tie_word_embeddings", missing: true)
    }

    /// A norm before and one after each sublayer.
    private mutating func makeGemma2() {
        makeGemma()
        keys.missingKVHeadCount = 4
        names.attention.after = "post_attention_layernorm"
        names.feedForward.before = "pre_feedforward_layernorm"
        names.feedForward.after = "post_feedforward_layernorm"
        attention.scale = .inverseRoot("query_pre_attn_scalar", missing: 256)
        feedForward.activationKey = "hidden_activation"
        feedForward.missingActivation = "gelu_pytorch_tanh"
    }
}
