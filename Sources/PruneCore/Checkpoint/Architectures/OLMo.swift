// SPDX-License-Identifier: Apache-2.0
extension Architecture {
    /// Norms without numbers of their own.
    static let olmo = Architecture("OlmoForCausalLM", type: "olmo", block: "OlmoDecoderLayer") {
        $0.norm.makeLayerNorm(epsilon: nil)
        $0.norm.hasGain = .fixed(false)
        $0.attention.declareBias()
        $0.attention.clip = .key("clip_qkv", missing: nil)
    }

    /// Norms of the updates, none before the sublayers.
    static let olmo2 = Architecture("Olmo2ForCausalLM", type: "olmo2", block: "Olmo2DecoderLayer") {
        $0.makeOLMo2()
    }

    static let olmo3 = Architecture("Olmo3ForCausalLM", type: "olmo3", block: "Olmo3DecoderLayer") {
        $0.makeOLMo2()
        $0.windows = .allButEvery(4, key: nil, missing: 4096)
        $0.rotary.missingBase = 500_000
        $0.rotary.windowed = RotaryRule.Windowed(baseKey: nil, missingBase: 500_000)
    }

    static let olmoE = Architecture("OlmoeForCausalLM", type: "olmoe", block: "OlmoeDecoderLayer") {
        $0.keys.missingContextLength = 4096
        $0.norm.missingEpsilon = 1e-5
        $0.attention.declareBias()
        $0.attention.hasHeadNorms = .fixed(true)
        $0.attention.headNormSpan = .allHeads
        $0.attention.clip = .key("clip_qkv", missing: nil)
        $0.mixture = MixtureRule(
            expertCountKeys: ["num_experts"], missingExpertCount: 64, chosenCountKey: "num_experts_per_tok",
            missingChosenCount: 8, sizeKey: "intermediate_size", router: "mlp.gate",
            isNormalised: .key("norm_topk_prob", missing: false),
            experts: .separate(path: "mlp.experts", gate: "gate_proj", up: "up_proj", down: "down_proj"))
    }

    private mutating func makeOLMo2() {
        names.attention = SublayerModules(modules: ["self_attn"], after: "post_attention_layernorm")
        names.feedForward = SublayerModules(modules: ["mlp"], after: "post_feedforward_layernorm")
        norm.missingEpsilon = 1e-5
        attention.declareBias()
        attention.hasHeadNorms = .fixed(true)
        attention.headNormSpan = .allHeads
    }
}
