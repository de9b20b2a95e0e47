// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

/// Keys that change what a model computes: taken by the families that have them, refused by the others.
@Suite struct ConfigKeyTests {
    static let keys: [(key: String, value: String, refusedBy: String, takenBy: String)] = [
        ("no_rope_layers", "[1, 0]", "LlamaForCausalLM", "SmolLM3ForCausalLM"),
        ("use_qk_norm", "true", "LlamaForCausalLM", "CohereForCausalLM"),
        ("qk_layernorm", "true", "LlamaForCausalLM", "PhiForCausalLM"),
        ("use_parallel_residual", "true", "LlamaForCausalLM", "StableLmForCausalLM"),
        ("num_experts", "4", "LlamaForCausalLM", "Qwen2MoeForCausalLM"),
        ("num_local_experts", "4", "MistralForCausalLM", "MixtralForCausalLM"),
        ("clip_qkv", "2.5", "LlamaForCausalLM", "OlmoForCausalLM"),
        ("attn_logit_softcapping", "50", "GemmaForCausalLM", "Gemma2ForCausalLM"),
        ("final_logit_softcapping", "30", "GemmaForCausalLM", "Gemma3ForCausalLM"),
        ("attention_multiplier", "0.1", "LlamaForCausalLM", "GraniteForCausalLM"),
        ("query_pre_attn_scalar", "20", "GemmaForCausalLM", "Gemma2ForCausalLM"),
        ("logit_scale", "0.5", "LlamaForCausalLM", "CohereForCausalLM"),
        ("logits_scaling", "2", "LlamaForCausalLM", "GraniteForCausalLM"),
        ("residual_multiplier", "0.5", "LlamaForCausalLM", "GraniteForCausalLM"),
        ("embedding_multiplier", "3", "LlamaForCausalLM", "GraniteMoeForCausalLM"),
        ("norm_type", #""lns""#, "MistralForCausalLM", "LlamaForCausalLM"),
    ]

    @Test(arguments: keys)
    func aKeyIsTakenByTheFamiliesThatReadIt(_ own: (key: String, value: String, refusedBy: String, takenBy: String))
        throws
    {
        expectFault(.unsupported, naming: "model/config.json: \(own.key)") {
            _ = try parseFamily(own.refusedBy, [own.key: own.value])
        }
        #expect(try parseFamily(own.takenBy, [own.key: own.value]).blockCount == 2)
    }

    @Test(arguments: [
        ("no_rope_layers", "[]"), ("use_qk_norm", "false"), ("use_parallel_residual", "false"), ("num_experts", "0"),
        ("logit_scale", "1"), ("logits_scaling", "1.0"), ("residual_multiplier", "1"), ("clip_qkv", "null"),
        ("is_causal", "true"), ("scale_attn_weights", "true"), ("add_cross_attention", "false"),
        ("use_bidirectional_attention", "false"), ("norm_type", "null"),
    ])
    func aValueThatChangesNothingIsTakenByAll(_ key: String, _ value: String) throws {
        #expect(try parseFamily("MistralForCausalLM", [key: value]).blockCount == 2)
    }

    @Test(arguments: [
        ("is_causal", "false"), ("add_cross_attention", "true"), ("is_encoder_decoder", "true"), ("alibi", "true"),
        ("attention_chunk_size", "64"), ("kv_lora_rank", "16"), ("scale_attn_weights", "false"),
        ("block_configs", "[{}]"), ("load_in_8bit", "true"), ("quant_config", #"{"w": 4}"#),
        ("pruned_heads", #"{"0": [1]}"#),
    ])
    func noFamilyTakesWhatTheEngineDoesNotCompute(_ key: String, _ value: String) {
        for architecture in Architecture.supported {
            expectFault(.unsupported, naming: key) { _ = try parseFamily(architecture.name, [key: value]) }
        }
    }

    @Test(
        arguments: [
            ("GemmaForCausalLM", "embedding scale", Float(24).squareRoot()), ("LlamaForCausalLM", "embedding scale", 1),
        ] as [(String, String, Float)])
    func embeddingsAreScaled(_ name: String, _ what: String, _ wanted: Float) throws {
        #expect(try parseFamily(name).embedding.scale == wanted, "\(what)")
    }

    @Test func factorsGoWhereTheFamilyHasThem() throws {
        let granite = try parseFamily(
            "GraniteForCausalLM",
            [
                "embedding_multiplier": "12", "attention_multiplier": "0.25", "residual_multiplier": "0.5",
                "logits_scaling": "8",
            ])
        #expect(granite.embedding.scale == 12 && granite.attention(ofBlock: 0).scale == 0.25)
        #expect(granite.sublayers.allSatisfy { $0.scale == 0.5 } && granite.head.norm?.factor == 1 / 8)
        #expect(try parseFamily("CohereForCausalLM").head.norm?.factor == 0.0625)
        #expect(try parseFamily("CohereForCausalLM", ["logit_scale": "0.5"]).head.norm?.factor == 0.5)
        let gemma = try parseFamily("Gemma2ForCausalLM", ["query_pre_attn_scalar": "16"])
        #expect(gemma.attention(ofBlock: 0).scale == 0.25)
        #expect(gemma.attention(ofBlock: 0).softCap == 50 && gemma.head.softCap == 30)
        let uncapped = try parseFamily("Gemma2ForCausalLM", ["attn_logit_softcapping": "null"])
        #expect(uncapped.attention(ofBlock: 0).softCap == nil)
        #expect(try parseFamily("Gemma3ForCausalLM").head.softCap == nil)
        let gpt = try parseFamily("GPT2LMHeadModel", ["scale_attn_by_inverse_layer_idx": "true"])
        #expect(gpt.attention(ofBlock: 1).scale == 1 / Float(6).squareRoot() / 2)
        #expect(try parseFamily("OlmoForCausalLM", ["clip_qkv": "8"]).attention(ofBlock: 0).clip == 8)
    }
}
