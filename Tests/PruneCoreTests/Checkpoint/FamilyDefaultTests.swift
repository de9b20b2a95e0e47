// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

/// What keys that config.json leaves out stand for. Golden values: the configurations of transformers 5.24, made without
/// arguments (`AutoConfig.for_model(type)`).
@Suite struct FamilyDefaultTests {
    struct Defaults: CustomTestStringConvertible, Sendable {
        let name: String
        /// nil = heads do not turn.
        var base: Double? = 10_000
        var windowedBase: Double?
        var part = 1.0
        var context = 2048
        /// nil = as many as query heads.
        var keyValueHeads: Int?
        /// nil = hidden size / query heads.
        var headSize: Int?
        var epsilon: Float = 1e-6
        var activation = Activation.silu
        var isTied = false
        var window: Int?
        var testDescription: String { name }
    }

    static let all = [
        Defaults(name: "LlamaForCausalLM"),
        Defaults(name: "MistralForCausalLM", context: 131_072, keyValueHeads: 8, window: 4096),
        Defaults(name: "Qwen2ForCausalLM", context: 32_768, keyValueHeads: 32),
        Defaults(name: "Qwen3ForCausalLM", context: 32_768, keyValueHeads: 32, headSize: 128),
        Defaults(name: "ArceeForCausalLM", context: 4096, epsilon: 1e-5, activation: .reluSquared),
        Defaults(name: "CohereForCausalLM", base: 500_000, context: 8192, epsilon: 1e-5, isTied: true),
        Defaults(
            name: "Cohere2ForCausalLM", windowedBase: 10_000, context: 8192, epsilon: 1e-5, isTied: true, window: 4096),
        Defaults(
            name: "Ernie4_5ForCausalLM", base: 500_000, context: 131_072, keyValueHeads: 2, headSize: 128,
            epsilon: 1e-5, isTied: true),
        Defaults(name: "Exaone4ForCausalLM", keyValueHeads: 32, epsilon: 1e-5, window: 4096),
        Defaults(
            name: "GemmaForCausalLM", context: 8192, keyValueHeads: 16, headSize: 256, activation: .geluTanh,
            isTied: true),
        Defaults(
            name: "Gemma2ForCausalLM", windowedBase: 10_000, context: 8192, keyValueHeads: 4, headSize: 256,
            activation: .geluTanh, isTied: true, window: 4096),
        Defaults(
            name: "Gemma3ForCausalLM", base: 1_000_000, windowedBase: 10_000, context: 131_072, keyValueHeads: 4,
            headSize: 256, activation: .geluTanh, isTied: true, window: 4096),
        Defaults(
            name: "GlmForCausalLM", part: 0.5, context: 131_072, keyValueHeads: 2, headSize: 128, epsilon: 1.5625e-7),
        Defaults(
            name: "Glm4ForCausalLM", part: 0.5, context: 131_072, keyValueHeads: 2, headSize: 128, epsilon: 1.5625e-7),
        Defaults(
            name: "GPT2LMHeadModel", base: nil, context: 1024, epsilon: 1e-5, activation: .geluTanh, isTied: true),
        Defaults(name: "GPTNeoXForCausalLM", part: 0.25, epsilon: 1e-5, activation: .gelu),
        Defaults(name: "GraniteForCausalLM"),
        Defaults(
            name: "HeliumForCausalLM", base: 100_000, context: 4096, keyValueHeads: 20, headSize: 128, epsilon: 1e-8),
        Defaults(
            name: "NemotronForCausalLM", part: 0.5, context: 4096, epsilon: 1e-5, activation: .reluSquared),
        Defaults(name: "OlmoForCausalLM", epsilon: 1e-5),
        Defaults(name: "Olmo2ForCausalLM", epsilon: 1e-5),
        Defaults(name: "Olmo3ForCausalLM", base: 500_000, windowedBase: 500_000, epsilon: 1e-5, window: 4096),
        Defaults(name: "OPTForCausalLM", base: nil, epsilon: 1e-5, activation: .relu, isTied: true),
        Defaults(name: "PhiForCausalLM", part: 0.5, epsilon: 1e-5, activation: .geluTanh),
        Defaults(name: "Phi3ForCausalLM", context: 4096, epsilon: 1e-5),
        Defaults(name: "SeedOssForCausalLM", context: 524_288, keyValueHeads: 8, headSize: 128),
        Defaults(name: "SmolLM3ForCausalLM", base: 2_000_000, context: 32_768, keyValueHeads: 4, isTied: true),
        Defaults(name: "StableLmForCausalLM", part: 0.25, context: 4096, keyValueHeads: 32, epsilon: 1e-5),
        Defaults(
            name: "Starcoder2ForCausalLM", context: 4096, keyValueHeads: 2, epsilon: 1e-5, activation: .geluTanh,
            isTied: true),
        Defaults(
            name: "GptOssForCausalLM", base: 150_000, windowedBase: 150_000, context: 131_072, keyValueHeads: 8,
            headSize: 64, epsilon: 1e-5, window: 128),
        Defaults(name: "GraniteMoeForCausalLM"),
        Defaults(name: "GraniteMoeSharedForCausalLM"),
        Defaults(name: "MixtralForCausalLM", base: 1_000_000, context: 131_072, keyValueHeads: 8, epsilon: 1e-5),
        Defaults(name: "OlmoeForCausalLM", context: 4096, epsilon: 1e-5),
        Defaults(name: "Qwen2MoeForCausalLM", context: 32_768, keyValueHeads: 16),
        Defaults(name: "Qwen3MoeForCausalLM", context: 32_768, keyValueHeads: 4),
    ]

    @Test(arguments: all)
    func keysThatAreLeftOutMeanWhatTransformersTakesThemFor(_ wanted: Defaults) throws {
        var changes: [String: String?] = [
            // A multiple of every number of key and value heads; heads of 8 where the family has no size of its own.
            "num_attention_heads": "320", "n_head": "320", "hidden_size": "2560", "n_embd": "2560",
            "num_hidden_layers": "6", "n_layer": "6",
        ]
        for key in ["num_key_value_heads", "head_dim", "max_position_embeddings", "n_positions"] {
            changes[key] = .some(nil)
        }
        let config = try parseFamily(wanted.name, changes)
        #expect(config.contextLength == wanted.context)
        #expect(config.kvHeadCount == wanted.keyValueHeads ?? 320)
        #expect(config.headSize == wanted.headSize ?? 8)
        #expect(config.tiesEmbeddings == wanted.isTied)
        let first = config.sublayers[0]
        #expect((first.before ?? first.after)?.epsilon == wanted.epsilon)
        #expect(config.activation ?? wanted.activation == wanted.activation)
        #expect(config.windows.contains { $0 != nil } == (wanted.window != nil))
        for (window, rotary) in zip(config.windows, config.rotations) {
            #expect(window == nil || window == wanted.window)
            // Not turned at all: see the tests of rotary rules.
            guard let rotary else { continue }
            #expect(rotary.base == (window == nil ? wanted.base : wanted.windowedBase ?? wanted.base))
            #expect(rotary.size == Int(wanted.part * Double(config.headSize)))
        }
        #expect(config.rotations.contains { $0 != nil } == (wanted.base != nil))
    }

    @Test func everyFamilyIsListed() {
        let missing = Set(Architecture.supported.map(\.name)).subtracting(Self.all.map(\.name))
        #expect(missing.isEmpty, "defaults of \(missing.sorted()) are not tested")
    }
}
