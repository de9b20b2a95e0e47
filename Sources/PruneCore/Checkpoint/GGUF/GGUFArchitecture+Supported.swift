// SPDX-License-Identifier: Apache-2.0
extension GGUFArchitecture {
    /// The architectures of llama.cpp that are opened: those that our own exports have, and `deci`.
    static let supported: [GGUFArchitecture] = [
        GGUFArchitecture("llama", .llama) {
            $0.pairing = .neighbours
            $0.familyIf = FamilyIf(condition: .number("expert_count"), family: .mixtral)
        },
        GGUFArchitecture("deci", .llama) { $0.pairing = .neighbours },
        GGUFArchitecture("arcee", .arcee) { $0.pairing = .neighbours },
        GGUFArchitecture("chatglm", .glm) { $0.pairing = .neighbours },
        GGUFArchitecture("command-r", .cohere) {
            $0.pairing = .neighbours
            $0.numbers = [("logit_scale", "logit_scale")]
        },
        GGUFArchitecture("cohere2", .cohere2) {
            $0.pairing = .neighbours
            $0.numbers = [("logit_scale", "logit_scale")]
            $0.windows = Windows(usualStep: 4, missing: 4096)
        },
        GGUFArchitecture("ernie4_5", .ernie) { $0.pairing = .neighbours },
        GGUFArchitecture("exaone4", .exaone4) { $0.windows = Windows(usualStep: 4, missing: nil, layers: 64) },
        GGUFArchitecture("gemma", .gemma),
        GGUFArchitecture("gemma2", .gemma2) {
            $0.windows = Windows(usualStep: 2, missing: 4096)
            $0.largeLayers = 46
            $0.numbers = [
                ("attn_logit_softcapping", "attn_logit_softcapping"),
                ("final_logit_softcapping", "final_logit_softcapping"),
            ]
        },
        GGUFArchitecture("gemma3", .gemma3) {
            $0.windows = Windows(usualStep: 6, missing: nil)
            $0.largeLayers = 62
            $0.numbers = [("final_logit_softcapping", "final_logit_softcapping")]
        },
        GGUFArchitecture("glm4", .glm4) { $0.pairing = .neighbours },
        GGUFArchitecture("gpt2", .gpt2),
        GGUFArchitecture("gptneox", .gptNeoX),
        GGUFArchitecture("gpt-oss", .gptOSS) {
            $0.feedForwardNorm = "post_attention_norm"
            $0.windows = Windows(usualStep: 2, missing: 128)
        },
        GGUFArchitecture("granite", .granite) {
            $0.pairing = .neighbours
            $0.numbers = graniteNumbers
        },
        GGUFArchitecture("granitemoe", .graniteMoE) {
            $0.pairing = .neighbours
            $0.numbers = graniteNumbers
            $0.familyIf = FamilyIf(condition: .tensor("ffn_up_shexp.weight"), family: .graniteMoEShared)
        },
        GGUFArchitecture("nemotron", .nemotron),
        GGUFArchitecture("olmo", .olmo) {
            $0.pairing = .neighbours
            $0.numbers = [("attention.clamp_kqv", "clip_qkv")]
        },
        GGUFArchitecture("olmo2", .olmo2) {
            $0.windows = Windows(usualStep: 4, missing: nil)
            $0.familyIf = FamilyIf(condition: .number("attention.sliding_window"), family: .olmo3)
        },
        GGUFArchitecture("olmoe", .olmoE) {
            $0.numbers = [("attention.clamp_kqv", "clip_qkv")]
            $0.constants = ["norm_topk_prob": .bool(false)]
        },
        GGUFArchitecture("phi2", .phi),
        GGUFArchitecture("phi3", .phi3) { $0.counts = [("attention.sliding_window", "sliding_window")] },
        GGUFArchitecture("qwen2", .qwen2),
        GGUFArchitecture("qwen2moe", .qwen2MoE) { $0.constants = ["norm_topk_prob": .bool(false)] },
        GGUFArchitecture("qwen3", .qwen3),
        GGUFArchitecture("qwen3moe", .qwen3MoE) { $0.constants = ["norm_topk_prob": .bool(true)] },
        GGUFArchitecture("seed_oss", .seedOSS) { $0.feedForwardNorm = "post_attention_norm" },
        GGUFArchitecture("smollm3", .smolLM3) { $0.pairing = .neighbours },
        GGUFArchitecture("stablelm", .stableLM) { $0.isParallelWithoutNorm = true },
        GGUFArchitecture("starcoder2", .starCoder2) {
            $0.counts = [("attention.sliding_window", "sliding_window")]
        },
    ]

    private static let graniteNumbers = [
        ("attention.scale", "attention_multiplier"), ("residual_scale", "residual_multiplier"),
        ("embedding_scale", "embedding_multiplier"), ("logit_scale", "logits_scaling"),
    ]

    /// The architecture that a file names. Errors: `.unsupported`, with the names that are known; `.format` if it names none.
    static func named(in metadata: GGUFMetadata) throws(PruneError) -> GGUFArchitecture {
        let key = "general.architecture"
        guard let name = try metadata.optionalString(key) else { throw metadata.missing(key) }
        if let found = supported.first(where: { $0.name == name }) { return found }
        throw metadata.fault(
            .unsupported, key,
            "is \(name.quoted); opened are \(supported.map(\.name).joined(separator: ", "))")
    }
}
