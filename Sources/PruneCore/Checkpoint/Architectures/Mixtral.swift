// SPDX-License-Identifier: Apache-2.0
extension Architecture {
    static let mixtral = Architecture("MixtralForCausalLM", type: "mixtral", block: "MixtralDecoderLayer") {
        $0.keys.missingKVHeadCount = 8
        $0.keys.missingContextLength = 131_072
        $0.norm.missingEpsilon = 1e-5
        $0.windows = .everyBlock(missing: nil, needsUse: false)
        $0.rotary.missingBase = 1_000_000
        $0.mixture = MixtureRule(
            expertCountKeys: ["num_local_experts"], missingExpertCount: 8, chosenCountKey: "num_experts_per_tok",
            missingChosenCount: 2, sizeKey: "intermediate_size", router: "block_sparse_moe.gate",
            isNormalised: .fixed(true),
            experts: .separate(path: "block_sparse_moe.experts", gate: "w1", up: "w3", down: "w2"))
    }
}
