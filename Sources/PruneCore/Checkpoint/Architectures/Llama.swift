// SPDX-License-Identifier: Apache-2.0
/// Llama, and families that differ from it in biases, windows and head norms.
extension Architecture {
    static let llama = Architecture("LlamaForCausalLM", type: "llama", block: "LlamaDecoderLayer") {
        $0.norm.placing = .declared
        $0.attention.declareBias()
        $0.feedForward.hasBias = .key("mlp_bias", missing: false)
    }

    static let mistral = Architecture("MistralForCausalLM", type: "mistral", block: "MistralDecoderLayer") {
        $0.keys.missingKVHeadCount = 8
        $0.keys.missingContextLength = 131_072
        $0.windows = .everyBlock(missing: 4096, needsUse: false)
    }

    static let smolLM3 = Architecture("SmolLM3ForCausalLM", type: "smollm3", block: "SmolLM3DecoderLayer") {
        $0.keys.missingKVHeadCount = 4
        $0.keys.missingContextLength = 32_768
        $0.attention.declareBias()
        $0.feedForward.hasBias = .key("mlp_bias", missing: false)
        $0.rotary.missingBase = 2_000_000
        $0.rotary.blocks = .listed
        $0.windows = .unturnedBlocks
        $0.head.isTied = .key("tie_word_embeddings", missing: true)
    }
}

extension AttentionRule {
    /// `attention_bias` says whether query, key, value and output have one.
    mutating func declareBias() {
        inputBias = .key("attention_bias", missing: false)
        outputBias = .key("attention_bias", missing: false)
    }
}
