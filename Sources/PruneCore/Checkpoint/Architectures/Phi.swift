// SPDX-License-Identifier: Apache-2.0
extension Architecture {
    /// Phi-1, 1.5 and 2: sublayers side by side behind one LayerNorm.
    static let phi = Architecture("PhiForCausalLM", type: "phi", block: "PhiDecoderLayer") {
        $0.names.feedForward.before = nil
        $0.names.finalNorm = "model.final_layernorm"
        $0.names.output = "self_attn.dense"
        $0.names.queryNorm = "self_attn.q_layernorm"
        $0.names.keyNorm = "self_attn.k_layernorm"
        $0.names.inner = .plain("mlp.fc1")
        $0.names.down = "mlp.fc2"
        $0.norm.makeLayerNorm(epsilon: "layer_norm_eps")
        $0.attention.inputBias = .fixed(true)
        $0.attention.outputBias = .fixed(true)
        $0.attention.hasHeadNorms = .key("qk_layernorm", missing: false)
        $0.attention.headNormHasBias = true
        $0.rotary.turnsPart = true
        $0.rotary.missingPart = 0.5
        $0.feedForward.hasBias = .fixed(true)
        $0.feedForward.missingActivation = "gelu_new"
        $0.isParallel = .fixed(true)
        $0.sharesParallelNorm = true
        $0.head.hasBias = true
    }

    /// Phi-3, 3.5, 4 and 4-mini.
    static let phi3 = Architecture("Phi3ForCausalLM", type: "phi3", block: "Phi3DecoderLayer") {
        $0.keys.missingContextLength = 4096
        $0.names.projections = .stacked("self_attn.qkv_proj")
        $0.names.inner = .stacked("mlp.gate_up_proj")
        $0.norm.missingEpsilon = 1e-5
        $0.windows = .everyBlock(missing: nil, needsUse: false)
        $0.rotary.turnsPart = true
        $0.rotary.typeNames = ["su": "longrope", "yarn": "longrope"]
        $0.rotary.missingOriginalContext = 4096
        $0.rotary.oldScalingMembers = ["type", "short_factor", "long_factor"]
    }
}
