// SPDX-License-Identifier: Apache-2.0
extension Architecture {
    static let granite = Architecture("GraniteForCausalLM", type: "granite", block: "GraniteDecoderLayer") {
        $0.makeGranite()
        $0.feedForward.hasBias = .key("mlp_bias", missing: false)
    }

    static let graniteMoE = Architecture("GraniteMoeForCausalLM", type: "granitemoe", block: "GraniteMoeDecoderLayer") {
        $0.makeGranite()
        $0.makeGraniteMixture()
    }

    static let graniteMoEShared = Architecture(
        "GraniteMoeSharedForCausalLM", type: "granitemoeshared", block: "GraniteMoeSharedDecoderLayer"
    ) {
        $0.makeGranite()
        $0.makeGraniteMixture()
        $0.names.feedForward.besides = ["shared_mlp"]
        $0.mixture?.shared = MixtureRule.Shared(
            sizeKey: "shared_intermediate_size", missingSize: 0, inner: .stacked("shared_mlp.input_linear"),
            down: "shared_mlp.output_linear")
    }

    /// Factors on embeddings, scores, updates and logits.
    private mutating func makeGranite() {
        attention.declareBias()
        attention.scale = .key("attention_multiplier", missing: 1)
        updateScale = .key("residual_multiplier", missing: 1)
        embedding.scale = .key("embedding_multiplier", missing: 1)
        head.scale = .over("logits_scaling", missing: 1)
    }

    private mutating func makeGraniteMixture() {
        names.feedForward.modules = ["block_sparse_moe"]
        mixture = MixtureRule(
            expertCountKeys: ["num_local_experts"], missingExpertCount: 8, chosenCountKey: "num_experts_per_tok",
            missingChosenCount: 2, sizeKey: "intermediate_size", router: "block_sparse_moe.router.layer",
            isNormalised: .fixed(true),
            experts: .stacked(
                inner: "block_sparse_moe.input_linear.weight", down: "block_sparse_moe.output_linear.weight"))
    }
}
