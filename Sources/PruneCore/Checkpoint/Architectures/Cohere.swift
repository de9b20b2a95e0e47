// SPDX-License-Identifier: Apache-2.0
extension Architecture {
    static let cohere = Architecture("CohereForCausalLM", type: "cohere", block: "CohereDecoderLayer") {
        $0.makeCohere()
        $0.attention.hasHeadNorms = .key("use_qk_norm", missing: false)
        $0.attention.headNormSpan = .eachHead
        $0.rotary.missingBase = 500_000
    }

    /// Heads turn only in the blocks that have a window.
    static let cohere2 = Architecture("Cohere2ForCausalLM", type: "cohere2", block: "Cohere2DecoderLayer") {
        $0.makeCohere()
        $0.windows = .allButEvery(4, key: "sliding_window_pattern", missing: 4096)
        $0.rotary.blocks = .windowed(orAll: false)
    }

    /// Sublayers side by side behind one LayerNorm without bias, and a factor on logits.
    private mutating func makeCohere() {
        keys.missingContextLength = 8192
        names.feedForward.before = nil
        norm.makeLayerNorm(epsilon: "layer_norm_eps")
        norm.hasBias = false
        attention.declareBias()
        rotary.pairing = .neighbours
        isParallel = .fixed(true)
        sharesParallelNorm = true
        head.isTied = .key("tie_word_embeddings", missing: true)
        head.scale = .times("logit_scale", missing: 0.0625)
    }
}
