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

    static let arcee = Architecture("ArceeForCausalLM", type: "arcee", block: "ArceeDecoderLayer") {
        $0.keys.missingContextLength = 4096
        $0.names.inner = .plain("mlp.up_proj")
        $0.norm.missingEpsilon = 1e-5
        $0.attention.declareBias()
        $0.feedForward.hasBias = .key("mlp_bias", missing: false)
        $0.feedForward.missingActivation = "relu2"
    }

    static let ernie = Architecture("Ernie4_5ForCausalLM", type: "ernie4_5", block: "Ernie4_5DecoderLayer") {
        $0.keys.missingKVHeadCount = 2
        $0.keys.missingHeadSize = 128
        $0.keys.missingContextLength = 131_072
        $0.norm.missingEpsilon = 1e-5
        $0.attention.inputBias = .key("use_bias", missing: false)
        $0.attention.outputBias = .key("use_bias", missing: false)
        $0.feedForward.hasBias = .key("use_bias", missing: false)
        $0.rotary.missingBase = 500_000
        $0.rotary.pairing = .neighbours
        $0.head.isTied = .key("tie_word_embeddings", missing: true)
    }

    static let helium = Architecture("HeliumForCausalLM", type: "helium", block: "HeliumDecoderLayer") {
        $0.keys.missingKVHeadCount = 20
        $0.keys.missingHeadSize = 128
        $0.keys.missingContextLength = 4096
        $0.norm.missingEpsilon = 1e-8
        $0.attention.inputBias = .key("attention_bias", missing: false)
        $0.feedForward.hasBias = .key("mlp_bias", missing: false)
        $0.rotary.missingBase = 100_000
        $0.rotary.pairing = .neighbours
    }

    static let seedOSS = Architecture("SeedOssForCausalLM", type: "seed_oss", block: "SeedOssDecoderLayer") {
        $0.keys.missingKVHeadCount = 8
        $0.keys.missingHeadSize = 128
        $0.keys.missingContextLength = 524_288
        $0.attention.inputBias = .key("attention_bias", missing: true)
        $0.attention.outputBias = .key("attention_out_bias", missing: false)
        $0.feedForward.hasBias = .key("mlp_bias", missing: false)
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
