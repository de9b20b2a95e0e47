// SPDX-License-Identifier: Apache-2.0
/// Families that the engine does not compute: which modules of transformers their two sublayers are, and no more.
extension Architecture {
    static let modulesOnly: [Architecture] = [
        apertus, bloom, codeGen, falcon, gptBigCode, gptJ, gptNeo, hunYuanDense, ministral, ministral3, mpt,
    ].map { own in
        var row = own
        row.isComputed = false
        return row
    }

    // MARK: As Llama, with other norms at most

    private static let hunYuanDense = Architecture(
        "HunYuanDenseV1ForCausalLM", type: "hunyuan_v1_dense", block: "HunYuanDenseV1DecoderLayer")
    private static let ministral = Architecture(
        "MinistralForCausalLM", type: "ministral", block: "MinistralDecoderLayer")
    private static let ministral3 = Architecture(
        "Ministral3ForCausalLM", type: "ministral3", block: "Ministral3DecoderLayer")

    private static let apertus = Architecture("ApertusForCausalLM", type: "apertus", block: "ApertusDecoderLayer") {
        $0.names.attention.before = "attention_layernorm"
        $0.names.feedForward.before = "feedforward_layernorm"
    }

    // MARK: Earlier ones, with LayerNorm

    private static let bloom = Architecture("BloomForCausalLM", type: "bloom", block: "BloomBlock") {
        $0.norm.makeLayerNorm(epsilon: "layer_norm_epsilon")
        $0.names.attention.modules = ["self_attention"]
        $0.names.attention.addsInput = true
        $0.names.feedForward.addsInput = true
        // Then the residual stream goes through the norms.
        $0.otherBlocksIf = ["apply_residual_connection_post_layernorm"]
    }

    /// Side by side behind one norm or two, or one after the other.
    private static let falcon = Architecture("FalconForCausalLM", type: "falcon", block: "FalconDecoderLayer") {
        $0.norm.makeLayerNorm(epsilon: "layer_norm_epsilon")
        $0.names.attention.modules = ["self_attention"]
        $0.names.attention.beforeInstead = "ln_attn"
        $0.names.feedForward.beforeInstead = "ln_mlp"
        $0.isParallel = .key("parallel_attn", missing: true)
        $0.sharesParallelNorm = true
    }

    private static let gptJ = Architecture("GPTJForCausalLM", type: "gptj", block: "GPTJBlock") { $0.makeGPTJ() }
    private static let codeGen = Architecture("CodeGenForCausalLM", type: "codegen", block: "CodeGenBlock") {
        $0.makeGPTJ()
    }

    private static let gptNeo = Architecture("GPTNeoForCausalLM", type: "gpt_neo", block: "GPTNeoBlock") {
        $0.makeGPT()
    }

    private static let gptBigCode = Architecture(
        "GPTBigCodeForCausalLM", type: "gpt_bigcode", block: "GPTBigCodeBlock"
    ) {
        $0.makeGPT()
        $0.otherBlocksIf = ["add_cross_attention"]
    }

    private static let mpt = Architecture("MptForCausalLM", type: "mpt", block: "MptBlock") {
        $0.norm.makeLayerNorm(epsilon: "layer_norm_epsilon")
        $0.norm.hasBias = false
        $0.names.attention = SublayerModules(modules: ["attn"], before: "norm_1")
        $0.names.feedForward = SublayerModules(modules: ["ffn"], before: "norm_2", addsInput: true)
    }

    private mutating func makeGPT() {
        norm.makeLayerNorm(epsilon: "layer_norm_epsilon")
        names.attention = SublayerModules(modules: ["attn"], before: "ln_1")
        names.feedForward = SublayerModules(modules: ["mlp"], before: "ln_2")
    }

    private mutating func makeGPTJ() {
        makeGPT()
        names.feedForward.before = nil
        isParallel = .fixed(true)
        sharesParallelNorm = true
    }
}
