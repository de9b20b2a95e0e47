// SPDX-License-Identifier: Apache-2.0
extension Architecture {
    static let opt = Architecture("OPTForCausalLM", type: "opt", block: "OPTDecoderLayer") {
        $0.keys.kvHeadCount = nil
        $0.keys.headSize = nil
        $0.names.embedding = "model.decoder.embed_tokens"
        $0.names.positions = "model.decoder.embed_positions"
        $0.names.finalNorm = "model.decoder.final_layer_norm"
        $0.names.blocks = "model.decoder.layers"
        $0.names.attention.before = "self_attn_layer_norm"
        $0.names.feedForward = SublayerModules(modules: ["fc1", "activation_fn", "fc2"], before: "final_layer_norm")
        $0.names.output = "self_attn.out_proj"
        $0.names.inner = .plain("fc1")
        $0.names.down = "fc2"
        $0.norm.makeLayerNorm(epsilon: nil)
        $0.norm.hasGain = .key("layer_norm_elementwise_affine", missing: true)
        // That of 350 million parameters has its norms after the sums.
        $0.norm.placing = .beforeIf("do_layer_norm_before", missing: true)
        $0.attention.inputBias = .key("enable_bias", missing: true)
        $0.attention.outputBias = .key("enable_bias", missing: true)
        $0.rotary.blocks = .none
        $0.feedForward.sizeKey = "ffn_dim"
        $0.feedForward.hasBias = .key("enable_bias", missing: true)
        $0.feedForward.activationKey = "activation_function"
        $0.feedForward.missingActivation = "relu"
        $0.embedding.positionOffset = 2
        $0.embedding.width = (key: "word_embed_proj_dim", into: "model.decoder.project_in")
        $0.head.isTied = .key("tie_word_embeddings", missing: true)
        $0.head.projection = "model.decoder.project_out"
    }
}
