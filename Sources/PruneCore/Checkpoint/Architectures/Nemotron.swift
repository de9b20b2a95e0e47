// SPDX-License-Identifier: Apache-2.0
extension Architecture {
    /// Layer norms by 1 + what is stored, no gates, and squares of what is above 0.
    static let nemotron = Architecture("NemotronForCausalLM", type: "nemotron", block: "NemotronDecoderLayer") {
        $0.keys.missingContextLength = 4096
        $0.names.inner = .plain("mlp.up_proj")
        $0.norm.makeLayerNorm(epsilon: "norm_eps")
        $0.norm.offset = 1
        $0.attention.declareBias()
        $0.rotary.turnsPart = true
        $0.rotary.missingPart = 0.5
        $0.feedForward.hasBias = .key("mlp_bias", missing: false)
        $0.feedForward.missingActivation = "relu2"
    }
}
