// SPDX-License-Identifier: Apache-2.0
extension Architecture {
    static let starCoder2 = Architecture("Starcoder2ForCausalLM", type: "starcoder2", block: "Starcoder2DecoderLayer") {
        $0.keys.missingKVHeadCount = 2
        $0.keys.missingContextLength = 4096
        $0.names.inner = .plain("mlp.c_fc")
        $0.names.down = "mlp.c_proj"
        $0.norm.makeLayerNorm(epsilon: "norm_epsilon")
        $0.attention.inputBias = .key("use_bias", missing: true)
        $0.attention.outputBias = .key("use_bias", missing: true)
        $0.feedForward.hasBias = .key("use_bias", missing: true)
        $0.feedForward.missingActivation = "gelu_pytorch_tanh"
        $0.windows = .everyBlock(missing: nil, needsUse: false)
        $0.head.isTied = .key("tie_word_embeddings", missing: true)
    }
}
