// SPDX-License-Identifier: Apache-2.0
extension Architecture {
    static let stableLM = Architecture("StableLmForCausalLM", type: "stablelm", block: "StableLmDecoderLayer") {
        $0.keys.missingKVHeadCount = 32
        $0.keys.headSize = nil
        $0.keys.missingContextLength = 4096
        $0.names.queryNorm = "self_attn.q_layernorm"
        $0.names.keyNorm = "self_attn.k_layernorm"
        $0.norm.makeLayerNorm(epsilon: "layer_norm_eps")
        $0.attention.inputBias = .key("use_qkv_bias", missing: false)
        $0.attention.hasHeadNorms = .key("qk_layernorm", missing: false)
        $0.attention.headNormSpan = .eachHead
        $0.attention.separatesHeadNorms = true
        $0.rotary.turnsPart = true
        $0.rotary.missingPart = 0.25
        $0.isParallel = .key("use_parallel_residual", missing: false)
        $0.sharesParallelNorm = true
    }
}
