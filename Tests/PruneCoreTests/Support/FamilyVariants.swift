// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

/// A small model of a family, with windows of 5 tokens where the family has them.
struct FamilyVariant: CustomTestStringConvertible, Sendable {
    let name: String
    var changes: [String: String?] = [:]
    var testDescription: String {
        changes.isEmpty
            ? name : "\(name), \(changes.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value ?? "left out")" })"
    }

    func model(_ compute: ComputeType = .float32, _ more: [String: String?] = [:]) throws -> NativeModel {
        let all = familySizes(name).merging(["sliding_window": "5"]) { $1 }.merging(changes) { $1 }.merging(more) { $1 }
        return try randomModel(name, all, compute: compute)
    }

    /// Every family, and what else its keys make of it.
    static let all =
        Architecture.supported.map { FamilyVariant(name: $0.name) } + [
            FamilyVariant(name: "LlamaForCausalLM", changes: ["norm_type": #""lns""#]),
            FamilyVariant(name: "LlamaForCausalLM", changes: ["norm_type": #""pre_post""#, "post_num": "1"]),
            FamilyVariant(
                name: "LlamaForCausalLM",
                changes: ["rope_scaling": #"{"type": "dynamic", "factor": 3}"#, "max_position_embeddings": "8"]),
            FamilyVariant(
                name: "OPTForCausalLM", changes: ["do_layer_norm_before": "false", "word_embed_proj_dim": "16"]),
            FamilyVariant(
                name: "StableLmForCausalLM", changes: ["use_parallel_residual": "true", "qk_layernorm": "true"]),
            FamilyVariant(name: "GPTNeoXForCausalLM", changes: ["use_parallel_residual": "false"]),
            FamilyVariant(name: "GPT2LMHeadModel", changes: ["scale_attn_by_inverse_layer_idx": "true"]),
            FamilyVariant(name: "CohereForCausalLM", changes: ["use_qk_norm": "true"]),
            FamilyVariant(name: "PhiForCausalLM", changes: ["qk_layernorm": "true"]),
            FamilyVariant(name: "OlmoForCausalLM", changes: ["clip_qkv": "0.9"]),
            FamilyVariant(
                name: "GraniteForCausalLM",
                changes: [
                    "embedding_multiplier": "2", "attention_multiplier": "0.3", "residual_multiplier": "0.6",
                    "logits_scaling": "2",
                ]),
            FamilyVariant(
                name: "SmolLM3ForCausalLM", changes: ["use_sliding_window": "true", "no_rope_layers": "[1, 0]"]),
            FamilyVariant(
                name: "Qwen2MoeForCausalLM", changes: ["decoder_sparse_step": "2", "norm_topk_prob": "true"]),
        ]
}
