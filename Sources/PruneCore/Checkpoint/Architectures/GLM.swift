// SPDX-License-Identifier: Apache-2.0
extension Architecture {
    static let glm = Architecture("GlmForCausalLM", type: "glm", block: "GlmDecoderLayer") {
        $0.makeGLM()
    }

    /// A norm before and one after each sublayer.
    static let glm4 = Architecture("Glm4ForCausalLM", type: "glm4", block: "Glm4DecoderLayer") {
        $0.makeGLM()
        $0.names.attention.after = "post_self_attn_layernorm"
        $0.names.feedForward.after = "post_mlp_layernorm"
    }

    private mutating func makeGLM() {
        keys.missingKVHeadCount = 2
        keys.missingHeadSize = 128
        keys.missingContextLength = 131_072
        names.inner = .stacked("mlp.gate_up_proj")
        norm.missingEpsilon = 1.5625e-7
        attention.inputBias = .key("attention_bias", missing: true)
        rotary.pairing = .neighbours
        rotary.turnsPart = true
        rotary.missingPart = 0.5
    }
}
