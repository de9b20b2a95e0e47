// SPDX-License-Identifier: Apache-2.0
/// Names of the keys that give sizes, and what keys that are left out stand for.
struct SizeKeys: Sendable {
    var hiddenSize = "hidden_size"
    var blockCount = "num_hidden_layers"
    var headCount = "num_attention_heads"
    /// nil = as many as query heads, whatever config.json says.
    var kvHeadCount: String? = "num_key_value_heads"
    /// nil = as many as query heads.
    var missingKVHeadCount: Int?
    /// nil = hidden size / query heads, whatever config.json says.
    var headSize: String? = "head_dim"
    /// nil = hidden size / query heads.
    var missingHeadSize: Int?
    var contextLength = "max_position_embeddings"
    var missingContextLength = 2048
    var vocabularySize = "vocab_size"
}
