// SPDX-License-Identifier: Apache-2.0
@testable import PruneCore

/// Sizes of a small model under the keys of its family, as raw JSON values: two blocks of width 24, inner width 40, four
/// heads of 6, two of keys and values, a context of 64; where there are experts, three, of which a token has two.
func familySizes(_ name: String) -> [String: String?] {
    var sizes: [String: String?] = [
        "hidden_size": "24", "n_embd": "24", "intermediate_size": "40", "n_inner": "40", "ffn_dim": "40",
        "moe_intermediate_size": "8", "num_hidden_layers": "2", "n_layer": "2", "num_attention_heads": "4",
        "n_head": "4", "num_key_value_heads": "2", "head_dim": "6", "vocab_size": "32",
        "max_position_embeddings": "64", "n_positions": "64", "num_experts_per_tok": "2",
        "shared_expert_intermediate_size": "16", "shared_intermediate_size": "16",
    ]
    if let mixture = Architecture.supported.first(where: { $0.name == name })?.mixture {
        sizes[mixture.expertCountKeys[0]] = .some("3")
    }
    return sizes
}

/// The configuration of such a model, changed.
func parseFamily(_ name: String, _ changes: [String: String?] = [:]) throws -> ModelConfig {
    try parse(name, familySizes(name).merging(changes) { $1 })
}
