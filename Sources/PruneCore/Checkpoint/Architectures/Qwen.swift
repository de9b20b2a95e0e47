// SPDX-License-Identifier: Apache-2.0
extension Architecture {
    static let qwen2 = Architecture("Qwen2ForCausalLM", type: "qwen2", block: "Qwen2DecoderLayer") {
        $0.keys.missingKVHeadCount = 32
        $0.keys.missingContextLength = 32_768
        $0.attention.inputBias = .fixed(true)
        $0.windows = .laterBlocks
    }

    static let qwen3 = Architecture("Qwen3ForCausalLM", type: "qwen3", block: "Qwen3DecoderLayer") {
        $0.keys.missingKVHeadCount = 32
        $0.keys.missingHeadSize = 128
        $0.keys.missingContextLength = 32_768
        $0.attention.declareBias()
        $0.attention.hasHeadNorms = .fixed(true)
        $0.windows = .laterBlocks
    }

    static let qwen2MoE = Architecture("Qwen2MoeForCausalLM", type: "qwen2_moe", block: "Qwen2MoeDecoderLayer") {
        $0.keys.missingKVHeadCount = 16
        $0.keys.missingContextLength = 32_768
        $0.attention.inputBias = .key("qkv_bias", missing: true)
        $0.windows = .everySecondBlock
        $0.mixture = .qwen
        $0.mixture?.missingExpertCount = 60
        $0.mixture?.missingChosenCount = 4
        $0.mixture?.shared = MixtureRule.Shared(
            sizeKey: "shared_expert_intermediate_size", missingSize: 5632,
            inner: .gated(gate: "mlp.shared_expert.gate_proj", up: "mlp.shared_expert.up_proj"),
            down: "mlp.shared_expert.down_proj", gate: "mlp.shared_expert_gate")
    }

    static let qwen3MoE = Architecture("Qwen3MoeForCausalLM", type: "qwen3_moe", block: "Qwen3MoeDecoderLayer") {
        $0.keys.missingKVHeadCount = 4
        $0.keys.missingContextLength = 32_768
        $0.attention.declareBias()
        $0.attention.hasHeadNorms = .fixed(true)
        $0.windows = .everyBlock(missing: 4096, needsUse: true)
        $0.mixture = .qwen
        $0.mixture?.missingExpertCount = 128
    }
}

extension MixtureRule {
    /// Experts of their own tensors beside a router `mlp.gate`; some blocks may be dense.
    fileprivate static let qwen = MixtureRule(
        expertCountKeys: ["num_experts", "num_local_experts"], chosenCountKey: "num_experts_per_tok",
        missingChosenCount: 8, router: "mlp.gate", isNormalised: .key("norm_topk_prob", missing: false),
        experts: .separate(path: "mlp.experts", gate: "gate_proj", up: "up_proj", down: "down_proj"),
        sparseStepKey: "decoder_sparse_step", denseBlocksKey: "mlp_only_layers")
}
