// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

@Suite struct CheckpointConfigTests {
    // Defaults of missing keys: configuration_{llama,mistral,qwen2,qwen3}.py of transformers 5.23.

    @Test func llamaDefaults() throws {
        let config = try parse("LlamaForCausalLM", ["num_key_value_heads": nil])
        #expect(config.architecture.name == "LlamaForCausalLM")
        #expect(config.blockCount == 3 && config.hiddenSize == 64 && config.feedForwardSize == 96)
        #expect(config.headCount == 4 && config.kvHeadCount == 4 && config.headSize == 16)
        #expect(config.vocabularySize == 128 && config.contextLength == 2048)
        #expect(config.normEpsilon == 1e-6 && config.activation == .silu && !config.tiesEmbeddings)
        #expect(!config.hasQueryKeyValueBias && !config.hasOutputBias && !config.hasFeedForwardBias)
        #expect(!config.hasQueryKeyNorm && config.windows == [nil, nil, nil])
        #expect(config.rotary == RotaryParameters(size: 16, pairing: .halves, base: 10_000, scaling: .none))
    }

    @Test func llamaSwitches() throws {
        let config = try parse(
            "LlamaForCausalLM",
            [
                "attention_bias": "true", "mlp_bias": "true", "head_dim": "10", "rms_norm_eps": "1e-5",
                "tie_word_embeddings": "true", "max_position_embeddings": "4096", "hidden_act": "\"gelu\"",
                "rope_theta": "500000", "sliding_window": "7",
            ])
        #expect(config.hasQueryKeyValueBias && config.hasOutputBias && config.hasFeedForwardBias)
        #expect(config.headSize == 10 && config.normEpsilon == 1e-5 && config.tiesEmbeddings)
        #expect(config.contextLength == 4096 && config.activation == .gelu && config.rotary?.base == 500_000)
        #expect(config.windows == [nil, nil, nil])
    }

    @Test func mistral() throws {
        let config = try parse(
            "MistralForCausalLM",
            ["num_attention_heads": "16", "num_key_value_heads": nil, "attention_bias": "true", "mlp_bias": "true"])
        #expect(config.kvHeadCount == 8 && config.headSize == 4 && config.contextLength == 131_072)
        #expect(config.windows == [4096, 4096, 4096])
        #expect(!config.hasQueryKeyValueBias && !config.hasOutputBias && !config.hasFeedForwardBias)
        #expect(try parse("MistralForCausalLM", ["sliding_window": "null"]).windows == [nil, nil, nil])
        #expect(try parse("MistralForCausalLM", ["sliding_window": "5"]).windows == [5, 5, 5])
    }

    @Test func qwen2() throws {
        let config = try parse("Qwen2ForCausalLM", ["sliding_window": "9", "max_window_layers": "1"])
        #expect(config.hasQueryKeyValueBias && !config.hasOutputBias && !config.hasFeedForwardBias)
        #expect(!config.hasQueryKeyNorm && config.contextLength == 32_768 && config.headSize == 16)
        #expect(config.windows == [nil, nil, nil])
        let wide = try parse("Qwen2ForCausalLM", ["num_attention_heads": "32", "num_key_value_heads": nil])
        #expect(wide.kvHeadCount == 32)
        #expect(try parse("Qwen2ForCausalLM", ["num_key_value_heads": "null"]).kvHeadCount == 4)
        expectFault(.format, naming: "num_key_value_heads", "32", "Qwen2ForCausalLM") {
            _ = try parse("Qwen2ForCausalLM", ["num_key_value_heads": nil])
        }
    }

    @Test func qwen3() throws {
        let config = try parse("Qwen3ForCausalLM")
        #expect(config.hasQueryKeyNorm && config.headSize == 128)
        #expect(!config.hasQueryKeyValueBias && !config.hasOutputBias)
        let biased = try parse("Qwen3ForCausalLM", ["attention_bias": "true", "head_dim": "8"])
        #expect(biased.hasQueryKeyValueBias && biased.hasOutputBias && !biased.hasFeedForwardBias)
        #expect(biased.headSize == 8)
    }

    @Test(arguments: ["Qwen2ForCausalLM", "Qwen3ForCausalLM"])
    func windowsOfSomeBlocks(_ name: String) throws {
        func windows(_ changes: [String: String?]) throws -> [Int?] {
            try parse(name, changes.merging(["use_sliding_window": "true"]) { own, _ in own }).windows
        }
        #expect(try windows(["sliding_window": "9", "max_window_layers": "1"]) == [nil, 9, 9])
        #expect(try windows(["sliding_window": "9", "max_window_layers": "0"]) == [9, 9, 9])
        #expect(try windows(["sliding_window": "9"]) == [nil, nil, nil])
        #expect(try windows(["max_window_layers": "2"]) == [nil, nil, 4096])
        #expect(try windows(["sliding_window": "null", "max_window_layers": "0"]) == [nil, nil, nil])
        let last29 = try windows(["num_hidden_layers": "30"])
        #expect(last29.prefix(28).allSatisfy { $0 == nil } && last29.suffix(2) == [4096, 4096])

        let types = #"["sliding_attention", "full_attention", "sliding_attention"]"#
        #expect(try windows(["sliding_window": "9", "max_window_layers": "0", "layer_types": types]) == [9, nil, 9])
        #expect(try windows(["layer_types": #"["attention", "attention", "attention"]"#]) == [nil, nil, nil])
        expectFault(.format, naming: "layer_types", "use_sliding_window") {
            _ = try windows(["use_sliding_window": "false", "layer_types": types])
        }
        expectFault(.format, naming: "layer_types", "1 entries", "3") {
            _ = try windows(["layer_types": #"["full_attention"]"#])
        }
        expectFault(.unsupported, naming: "layer_types", "linear_attention") {
            _ = try windows(["layer_types": #"["full_attention", "linear_attention", "full_attention"]"#])
        }
        expectFault(.format, naming: "sliding_window", "0") { _ = try windows(["sliding_window": "0"]) }
        expectFault(.format, naming: "max_window_layers", "-1") { _ = try windows(["max_window_layers": "-1"]) }
    }

    @Test func layerTypesThatContradictTheArchitecture() throws {
        let full = #"["full_attention", "full_attention", "full_attention"]"#
        let mixed = #"["full_attention", "sliding_attention", "full_attention"]"#
        #expect(try parse("LlamaForCausalLM", ["layer_types": full]).windows == [nil, nil, nil])
        for (name, types) in [
            ("LlamaForCausalLM", mixed), ("MistralForCausalLM", mixed), ("MistralForCausalLM", full),
        ] {
            expectFault(.unsupported, naming: "layer_types", name) { _ = try parse(name, ["layer_types": types]) }
        }
    }

    @Test func findsTheArchitectureByModelType() throws {
        for (type, name) in [
            ("llama", "LlamaForCausalLM"), ("mistral", "MistralForCausalLM"), ("qwen2", "Qwen2ForCausalLM"),
            ("qwen3", "Qwen3ForCausalLM"),
        ] {
            let config = try parse("", ["architectures": nil, "model_type": "\"\(type)\""])
            #expect(config.architecture.name == name)
            #expect(try parse(name, ["model_type": "\"\(type)\""]).architecture.name == name)
        }
        let unnamed = try parse("", ["architectures": "[]", "model_type": "\"llama\""])
        #expect(unnamed.architecture.name == "LlamaForCausalLM")
    }

    @Test func refusesOtherArchitectures() {
        expectFault(.unsupported, naming: "config.json", "BloomForCausalLM", "LlamaForCausalLM", "Qwen3ForCausalLM") {
            _ = try parse("BloomForCausalLM")
        }
        expectFault(.unsupported, naming: "model_type", "mamba", "MistralForCausalLM") {
            _ = try parse("", ["architectures": nil, "model_type": "\"mamba\""])
        }
        expectFault(.format, naming: "architectures", "missing") { _ = try parse("", ["architectures": nil]) }
        expectFault(.format, naming: "model_type", "mixtral", "llama") {
            _ = try parse("LlamaForCausalLM", ["model_type": "\"mixtral\""])
        }
        expectFault(.format, naming: "architectures", "array of strings") {
            _ = try parse("", ["architectures": "[1]"])
        }
    }

    @Test(arguments: [
        ("quantization_config", #"{"quant_method": "gptq", "bits": 4}"#, "gptq"),
        ("quantization_config", "{}", "quantized"),
        ("compression_config", "{}", "quantized"),
        ("per_layer_config", #"{"0": {"intermediate_size": 8}}"#, "per_layer_config.0.intermediate_size"),
        ("hidden_act", "\"tanh\"", "tanh"),
        ("head_dim", "15", "15"),
        ("num_hidden_layers", "4097", "4096"),
        ("hidden_size", "2000000", "1048576"),
        ("intermediate_size", "9223372036854775807", "4194304"),
        ("vocab_size", "16777217", "16777216"),
        ("head_dim", "524288", "1048576"),
        ("partial_rotary_factor", "0.5", "0.5"),
    ])
    func refusesWhatItDoesNotCompute(_ key: String, _ value: String, _ word: String) {
        expectFault(.unsupported, naming: "model/config.json", word) {
            _ = try parse("LlamaForCausalLM", [key: value])
        }
    }

    @Test func nullQuantizationIsNone() throws {
        #expect(try parse("LlamaForCausalLM", ["quantization_config": "null"]).blockCount == 3)
    }

    @Test(arguments: ["hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size"])
    func needsSizes(_ key: String) {
        for value in [nil, "null"] {
            expectFault(.format, naming: "model/config.json", key, "missing") {
                _ = try parse("LlamaForCausalLM", [key: value])
            }
        }
        for value in ["0", "-1", "1.5", "64.01", "1e999", "\"64\"", "true", "[]", "{}", "99999999999999999999"] {
            expectFault(.format, naming: "model/config.json") { _ = try parse("LlamaForCausalLM", [key: value]) }
        }
    }

    @Test func takesWholeNumbersHoweverWritten() throws {
        let config = try parse(
            "LlamaForCausalLM", ["hidden_size": "64.0", "vocab_size": "1e3", "rope_theta": "500000"])
        #expect(config.hiddenSize == 64 && config.vocabularySize == 1000 && config.rotary?.base == 500_000)
    }

    @Test(arguments: [
        ("num_key_value_heads", "3", "divide"), ("num_key_value_heads", "8", "divide"),
        ("num_key_value_heads", "0", "at least 1"), ("num_attention_heads", "5", "divide"),
        ("hidden_size", "66", "head_dim"), ("head_dim", "0", "at least 1"), ("head_dim", "-8", "at least 1"),
        ("rms_norm_eps", "0", "above 0"), ("rms_norm_eps", "-1e-6", "above 0"), ("rms_norm_eps", "1e-60", "float"),
        ("rms_norm_eps", "1e60", "float"), ("rms_norm_eps", "\"1e-6\"", "a finite number"),
        ("max_position_embeddings", "0", "at least 1"), ("hidden_act", "3", "a string"),
        ("attention_bias", "1", "true or false"), ("mlp_bias", "\"no\"", "true or false"),
        ("tie_word_embeddings", "0", "true or false"), ("layer_types", "{}", "array of strings"),
        ("quantization_config", "true", "an object"),
    ])
    func refusesBadValues(_ key: String, _ value: String, _ word: String) {
        expectFault(.format, naming: "model/config.json: ", word) { _ = try parse("LlamaForCausalLM", [key: value]) }
    }

    @Test(arguments: ["", "[]", "3", "{", "\u{0}", "{\"a\": 1}"])
    func refusesOtherFiles(_ text: String) {
        expectFault(.format, naming: "model/config.json") {
            _ = try ModelConfig.parse(Array(text.utf8), path: "model/config.json")
        }
    }

    @Test(arguments: [
        ("silu", Activation.silu), ("swish", .silu), ("gelu", .gelu), ("gelu_new", .geluTanh),
        ("gelu_pytorch_tanh", .geluTanh), ("gelu_fast", .geluTanh), ("relu", .relu), ("relu2", .reluSquared),
    ])
    func activations(_ name: String, _ wanted: Activation) throws {
        #expect(try parse("LlamaForCausalLM", ["hidden_act": "\"\(name)\""]).activation == wanted)
    }
}
