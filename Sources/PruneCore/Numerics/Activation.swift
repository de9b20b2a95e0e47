// SPDX-License-Identifier: Apache-2.0
/// The function applied to the gate of a feed-forward sublayer.
public enum Activation: Sendable {
    /// x * sigmoid(x)
    case silu
    /// x * Phi(x), Phi approximated with tanh
    case geluTanh
    /// x * Phi(x)
    case gelu

    /// By the name that config.json gives under `hidden_act`; nil if it is another function.
    init?(name: String) {
        switch name {
        case "silu", "swish": self = .silu
        case "gelu_pytorch_tanh", "gelu_new": self = .geluTanh
        case "gelu": self = .gelu
        default: return nil
        }
    }
}
