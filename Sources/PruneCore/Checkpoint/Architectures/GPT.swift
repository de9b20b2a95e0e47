// SPDX-License-Identifier: Apache-2.0
extension Architecture {
    /// Learned positions, and matrices stored inputs x outputs.
    static let gpt2 = Architecture("GPT2LMHeadModel", type: "gpt2", block: "GPT2Block") {
        $0.otherBlocksIf = ["add_cross_attention"]
        $0.keys = SizeKeys(
            hiddenSize: "n_embd", blockCount: "n_layer", headCount: "n_head", kvHeadCount: nil, headSize: nil,
            contextLength: "n_positions", missingContextLength: 1024)
        $0.names.prefix = "transformer."
        $0.names.embedding = "transformer.wte"
        $0.names.positions = "transformer.wpe"
        $0.names.finalNorm = "transformer.ln_f"
        $0.names.blocks = "transformer.h"
        $0.names.attention = SublayerModules(modules: ["attn"], before: "ln_1")
        $0.names.feedForward = SublayerModules(modules: ["mlp"], before: "ln_2")
        $0.names.projections = .stacked("attn.c_attn")
        $0.names.output = "attn.c_proj"
        $0.names.inner = .plain("mlp.c_fc")
        $0.names.down = "mlp.c_proj"
        $0.names.storesTransposed = true
        $0.norm.makeLayerNorm(epsilon: "layer_norm_epsilon")
        $0.attention.inputBias = .fixed(true)
        $0.attention.outputBias = .fixed(true)
        $0.attention.scale = .headSizeAndBlock("scale_attn_by_inverse_layer_idx")
        $0.rotary.blocks = .none
        $0.feedForward.sizeKey = "n_inner"
        $0.feedForward.missingMultiple = 4
        $0.feedForward.hasBias = .fixed(true)
        $0.feedForward.activationKey = "activation_function"
        $0.feedForward.missingActivation = "gelu_new"
        $0.embedding.positionOffset = 0
        $0.head.isTied = .key("tie_word_embeddings", missing: true)
    }

    /// Pythia among others: sublayers side by side, each behind a norm of its own.
    static let gptNeoX = Architecture("GPTNeoXForCausalLM", type: "gpt_neox", block: "GPTNeoXLayer") {
        $0.keys.kvHeadCount = nil
        $0.keys.headSize = nil
        $0.names.prefix = "gpt_neox."
        $0.names.embedding = "gpt_neox.embed_in"
        $0.names.finalNorm = "gpt_neox.final_layer_norm"
        $0.names.head = "embed_out"
        $0.names.blocks = "gpt_neox.layers"
        $0.names.attention.modules = ["attention"]
        $0.names.projections = .headByHead("attention.query_key_value")
        $0.names.output = "attention.dense"
        $0.names.inner = .plain("mlp.dense_h_to_4h")
        $0.names.down = "mlp.dense_4h_to_h"
        $0.norm.makeLayerNorm(epsilon: "layer_norm_eps")
        $0.attention.inputBias = .key("attention_bias", missing: true)
        $0.attention.outputBias = .key("attention_bias", missing: true)
        $0.rotary.turnsPart = true
        $0.rotary.baseKey = "rotary_emb_base"
        $0.rotary.partKey = "rotary_pct"
        $0.rotary.missingPart = 0.25
        $0.feedForward.hasBias = .fixed(true)
        $0.feedForward.missingActivation = "gelu"
        $0.isParallel = .key("use_parallel_residual", missing: true)
    }

    static let gptOSS = Architecture("GptOssForCausalLM", type: "gpt_oss", block: "GptOssDecoderLayer") {
        $0.keys.missingKVHeadCount = 8
        $0.keys.missingHeadSize = 64
        $0.keys.missingContextLength = 131_072
        $0.norm.missingEpsilon = 1e-5
        $0.attention.inputBias = .key("attention_bias", missing: true)
        $0.attention.outputBias = .key("attention_bias", missing: true)
        $0.attention.hasSinks = true
        $0.windows = .allButEvery(2, key: nil, missing: 128)
        $0.rotary.missingBase = 150_000
        $0.rotary.missingScaling = .yarn(
            RotaryParameters.YaRN(
                factor: 32, originalContext: 4096, betaFast: 32, betaSlow: 1, truncates: false,
                attentionFactor: RotaryParameters.YaRN.attentionFactor(32)))
        $0.mixture = MixtureRule(
            expertCountKeys: ["num_local_experts"], missingExpertCount: 128, chosenCountKey: "num_experts_per_tok",
            missingChosenCount: 4, sizeKey: "intermediate_size", router: "mlp.router", routerHasBias: true,
            isNormalised: .fixed(true),
            experts: .alternating(inner: "mlp.experts.gate_up_proj", down: "mlp.experts.down_proj"),
            clamp: (.key("swiglu_limit", missing: 7), .key("swiglu_alpha", missing: 1.702)))
    }
}

extension NormRule {
    /// LayerNorm with gain and bias.
    mutating func makeLayerNorm(epsilon key: String?) {
        kind = .layer
        hasBias = true
        epsilonKey = key
        missingEpsilon = 1e-5
    }
}
