// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

/// Names and shapes of the tensors that families need, as their modelling code in transformers gives them.
@Suite struct TensorNameTests {
    struct Family: CustomTestStringConvertible, Sendable {
        let name: String
        var changes: [String: String?] = [:]
        /// Some of its tensors.
        let tensors: [String: [Int]]
        var testDescription: String { name }
    }

    static let families = [
        Family(
            name: "LlamaForCausalLM", changes: ["attention_bias": "true", "mlp_bias": "true"],
            tensors: [
                "model.embed_tokens.weight": [32, 24], "model.norm.weight": [24], "lm_head.weight": [32, 24],
                "model.layers.1.input_layernorm.weight": [24], "model.layers.1.self_attn.q_proj.weight": [24, 24],
                "model.layers.1.self_attn.k_proj.weight": [12, 24], "model.layers.1.self_attn.v_proj.bias": [12],
                "model.layers.0.mlp.down_proj.weight": [24, 40], "model.layers.0.mlp.gate_proj.bias": [40],
            ]),
        Family(
            name: "GPT2LMHeadModel",
            tensors: [
                "transformer.wte.weight": [32, 24], "transformer.wpe.weight": [64, 24], "transformer.ln_f.bias": [24],
                "transformer.h.1.ln_1.weight": [24], "transformer.h.1.ln_2.bias": [24],
                "transformer.h.1.attn.c_attn.weight": [24, 72], "transformer.h.1.attn.c_attn.bias": [72],
                "transformer.h.0.mlp.c_fc.weight": [24, 40], "transformer.h.0.mlp.c_proj.weight": [40, 24],
            ]),
        Family(
            name: "GPTNeoXForCausalLM",
            tensors: [
                "gpt_neox.embed_in.weight": [32, 24], "embed_out.weight": [32, 24],
                "gpt_neox.layers.1.attention.query_key_value.weight": [72, 24],
                "gpt_neox.layers.1.attention.dense.bias": [24],
                "gpt_neox.layers.0.mlp.dense_4h_to_h.weight": [24, 40],
            ]),
        Family(
            name: "OPTForCausalLM", changes: ["word_embed_proj_dim": "16"],
            tensors: [
                "model.decoder.embed_tokens.weight": [32, 16], "model.decoder.embed_positions.weight": [66, 24],
                "model.decoder.project_in.weight": [24, 16], "model.decoder.project_out.weight": [16, 24],
                "model.decoder.layers.1.fc1.weight": [40, 24], "model.decoder.layers.1.final_layer_norm.bias": [24],
            ]),
        Family(
            name: "Phi3ForCausalLM",
            tensors: [
                "model.layers.1.self_attn.qkv_proj.weight": [48, 24],
                "model.layers.1.mlp.gate_up_proj.weight": [80, 24],
            ]),
        Family(
            name: "Gemma2ForCausalLM",
            tensors: [
                "model.layers.1.pre_feedforward_layernorm.weight": [24],
                "model.layers.1.post_feedforward_layernorm.weight": [24],
            ]),
        Family(
            name: "StableLmForCausalLM", changes: ["qk_layernorm": "true"],
            tensors: ["model.layers.1.self_attn.q_layernorm.norms.3.weight": [6]]),
        Family(
            name: "CohereForCausalLM", changes: ["use_qk_norm": "true"],
            tensors: ["model.layers.1.self_attn.k_norm.weight": [2, 6]]),
        Family(name: "Olmo2ForCausalLM", tensors: ["model.layers.1.self_attn.k_norm.weight": [12]]),
        Family(
            name: "MixtralForCausalLM",
            tensors: [
                "model.layers.1.block_sparse_moe.gate.weight": [3, 24],
                "model.layers.1.block_sparse_moe.experts.2.w2.weight": [24, 40],
            ]),
        Family(
            name: "Qwen2MoeForCausalLM",
            tensors: [
                "model.layers.1.mlp.experts.2.gate_proj.weight": [8, 24],
                "model.layers.1.mlp.shared_expert.down_proj.weight": [24, 16],
                "model.layers.1.mlp.shared_expert_gate.weight": [1, 24],
            ]),
        Family(
            name: "GptOssForCausalLM",
            tensors: [
                "model.layers.1.mlp.experts.gate_up_proj": [3, 24, 80],
                "model.layers.1.mlp.experts.gate_up_proj_bias": [3, 80],
                "model.layers.1.mlp.experts.down_proj": [3, 40, 24], "model.layers.1.mlp.router.bias": [3],
                "model.layers.1.self_attn.sinks": [4],
            ]),
        Family(
            name: "GraniteMoeSharedForCausalLM",
            tensors: [
                "model.layers.1.block_sparse_moe.input_linear.weight": [3, 80, 24],
                "model.layers.1.block_sparse_moe.output_linear.weight": [3, 24, 40],
                "model.layers.1.shared_mlp.input_linear.weight": [32, 24],
            ]),
    ]

    @Test(arguments: families)
    func namesAndShapesAreThoseOfTransformers(_ family: Family) throws {
        let planned = plannedTensors(try parseFamily(family.name, family.changes))
        for (name, shape) in family.tensors {
            let found = planned.first { $0.name == name }
            #expect(found != nil, "\(name) is not planned")
            #expect(found?.shape == shape, "\(name)")
        }
    }

    @Test(arguments: Architecture.supported.map(\.name))
    func everyFamilyLoadsTheTensorsThatItPlans(_ name: String) throws {
        let config = try parseFamily(name)
        let planned = plannedTensors(config)
        #expect(planned.allSatisfy { $0.name.contains(".") && $0.shape.allSatisfy { $0 > 0 } })
        let model = try randomModel(name, familySizes(name))
        #expect(
            model.shape.fixedParameters + model.shape.sublayers.reduce(0) { $0 + $1.parameters }
                == planned.reduce(0) { $0 + $1.shape.reduce(1, *) })
    }

    @Test func noTwoFamiliesHaveOneName() {
        #expect(Set(Architecture.supported.map(\.name)).count == Architecture.supported.count)
        #expect(Set(Architecture.supported.map(\.modelType)).count == Architecture.supported.count)
    }
}
