// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

@testable import PruneCore

/// Configurations of every family with odd values. What is refused throws; what is taken is planned, loaded, run and written
/// from without a trap, which would end the whole test run. `PRUNE_TEST_FUZZ` gives the number of tries for each family.
@Suite struct FamilyFuzzTests {
    static let tries = ProcessInfo.processInfo.environment["PRUNE_TEST_FUZZ"].flatMap { Int($0) } ?? 40

    static let oddValues = [
        "0", "-0.0", "1", "-1", "2", "3", "5", "7", "0.5", "0.34", "1e-320", "1e-46", "1e308", "3.5e38", "1e18", "4095",
        "1048576", "2147483647", "2147483648", "4294967296", "9223372036854775807", "-9223372036854775808", "NaN",
        "Infinity", "true", "false", "null", #""""#, #""x""#, #""lns""#, #""pre_post""#, #""gelu""#, #""relu2""#, "[]",
        "{}", "[0]", "[1, 0]", "[0, 1, 1, 0]", #"["sliding_attention", "full_attention"]"#,
        #"["full_attention", "full_attention"]"#, #"{"rope_type": "default"}"#,
        #"{"type": "dynamic", "factor": 2}"#, #"{"rope_type": "dynamic", "factor": 1e308}"#,
        #"{"rope_type": "proportional", "partial_rotary_factor": 0.01}"#, #"{"type": "linear", "factor": 1e300}"#,
        #"{"rope_type": "yarn", "factor": 4, "original_max_position_embeddings": 1e-300}"#,
        #"{"rope_type": "yarn", "factor": 4, "beta_fast": 1e308, "beta_slow": 1e-308, "rope_theta": 1.0000000001}"#,
        #"{"rope_type": "longrope", "short_factor": [1, 1, 2], "long_factor": [1, 2, 1e300]}"#,
        #"{"rope_type": "longrope", "short_factor": [1], "long_factor": [1], "original_max_position_embeddings": 2}"#,
        #"{"rope_type": "longrope", "short_factor": [], "long_factor": []}"#,
        #"{"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 1.0000000000000002}"#,
        #"{"full_attention": {"rope_theta": 5}, "sliding_attention": {"rope_type": "linear", "factor": 2}}"#,
        #"{"full_attention": {}, "sliding_attention": null}"#, #"{"partial_rotary_factor": 0.2}"#,
    ]

    /// Keys that some family reads, besides those of the sizes.
    static let keys = [
        "rope_scaling", "rope_parameters", "rope_theta", "rope_local_base_freq", "rotary_pct", "rotary_emb_base",
        "partial_rotary_factor", "original_max_position_embeddings", "layer_types", "sliding_window",
        "use_sliding_window", "max_window_layers", "sliding_window_pattern", "no_rope_layers", "no_rope_layer_interval",
        "norm_type", "post_num", "rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_epsilon", "clip_qkv",
        "attention_bias", "mlp_bias", "use_bias", "enable_bias", "qkv_bias", "use_qkv_bias", "attention_out_bias",
        "qk_layernorm", "use_qk_norm", "use_parallel_residual", "attn_logit_softcapping", "final_logit_softcapping",
        "query_pre_attn_scalar", "attention_multiplier", "residual_multiplier", "embedding_multiplier",
        "logits_scaling", "logit_scale", "hidden_act", "hidden_activation", "activation_function",
        "tie_word_embeddings", "num_experts", "num_local_experts", "decoder_sparse_step", "mlp_only_layers",
        "norm_topk_prob", "swiglu_limit", "swiglu_alpha", "do_layer_norm_before", "layer_norm_elementwise_affine",
        "word_embed_proj_dim", "scale_attn_by_inverse_layer_idx",
    ]

    /// A model that holds what it plans, if that is little: all values are between -1 and 1.
    func model(_ config: ModelConfig) throws -> NativeModel? {
        let planned = plannedTensors(config)
        let count = planned.reduce(0) { $0 + $1.shape.reduce(1, *) }
        guard count < 1 << 17 else { return nil }
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 4 * count, alignment: 4)
        let owner = Owner(memory)
        let floats = memory.bindMemory(to: Float.self)
        for index in 0..<count { floats[index] = Float(index * 7 % 31) / 15 - 1 }
        var tensors: [String: StoredTensor] = [:]
        var place = 0
        for tensor in planned {
            let bytes = 4 * tensor.shape.reduce(1, *)
            tensors[tensor.name] = StoredTensor(
                name: tensor.name, elementType: .float32, shape: tensor.shape,
                bytes: UnsafeRawBufferPointer(rebasing: memory[place..<place + bytes]), owner: owner)
            place += bytes
        }
        return try NativeModel(config, TensorTable(source: "memory", tensors: tensors), compute: .float32)
    }

    private final class Owner {
        let memory: UnsafeMutableRawBufferPointer
        init(_ memory: UnsafeMutableRawBufferPointer) { self.memory = memory }
        deinit { memory.deallocate() }
    }

    /// Everything that a model does with its configuration.
    func use(_ model: NativeModel) throws {
        let tokens = (0..<12).map { Int32($0 % model.config.vocabularySize) }
        let data = try TokenData(tokens: tokens, lengths: [7, 5], weights: nil)
        let mask = KeepMask(blocks: model.config.blockCount)
        _ = try? logits(model, data, under: mask)
        let prompts = try TokenData(tokens: Array(tokens.prefix(3)), lengths: [3], weights: nil)
        _ = try? generate(
            model, after: prompts, under: mask,
            try GenerationOptions(mostNewTokens: 4, sampling: try Sampling(temperature: 0)))
        guard let start = try? model.start(TokenBatch(data, 0..<2)) else { return }
        var gradient: any HiddenState = start
        for sublayer in (0..<model.shape.sublayerCount).reversed() {
            gradient = try model.pullback(sublayer, at: [start], of: [gradient])[0]
        }
    }

    @Test(arguments: Architecture.supported.map(\.name))
    func oddConfigurationsAreRefusedOrComputed(_ name: String) throws {
        var random = SeededGenerator(state: 77)
        let sizes = familySizes(name)
        // In an order that is the same in every run.
        let keys = Self.keys + sizes.keys.sorted() + sizes.keys.sorted()
        var (taken, used) = (0, 0)
        for _ in 0..<Self.tries {
            var changes = sizes
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                let key = keys.randomElement(using: &random) ?? ""
                changes[key] = .some(Self.oddValues.randomElement(using: &random))
            }
            guard let config = try? ModelConfig.parse(configuration(name, changes), path: "config.json") else {
                continue
            }
            taken += 1
            // Of 4096 blocks it takes long, and shows nothing else.
            guard config.blockCount <= 8 else { continue }
            #expect((try? JSONValue.parse(Array(PlanDocument.text(of: config).utf8), source: "plan")) != nil)
            guard let model = try? model(config) else { continue }
            used += 1
            try use(model)
        }
        #expect(taken > Self.tries / 20 && used > 0, "\(taken) taken, \(used) used")
    }

    /// Little files that would ask for much.
    @Test func manyBlocksOfManyPartsAreRefusedSoon() throws {
        let many: [String: String?] = ["num_hidden_layers": "4096"]
        expectFault(.unsupported, naming: "experts in all") {
            _ = try parseFamily("MixtralForCausalLM", many.merging(["num_local_experts": "4096"]) { $1 })
        }
        expectFault(.unsupported, naming: "heads in all") {
            _ = try parseFamily(
                "StableLmForCausalLM",
                many.merging([
                    "hidden_size": "1048576", "num_attention_heads": "131072", "num_key_value_heads": "131072",
                    "qk_layernorm": "true",
                ]) { $1 })
        }
        #expect(try parseFamily("MixtralForCausalLM", many).blockCount == 4096)
    }
}
