// SPDX-License-Identifier: Apache-2.0
/// The function applied to the gate of a feed-forward sublayer, or to its only inner values where it has no gate.
public enum Activation: Sendable, Equatable {
    /// x * sigmoid(x)
    case silu
    /// x * Phi(x), Phi approximated with tanh
    case geluTanh
    /// x * Phi(x)
    case gelu
    /// max(x, 0)
    case relu
    /// max(x, 0)^2
    case reluSquared
    /// That of gpt-oss: g * sigmoid(slope * g) with g = min(gate, limit), times up + 1, up held within +-limit.
    case clamped(limit: Float, slope: Float)

    /// By the name that config.json gives; nil if it is another function.
    init?(name: String) {
        switch name {
        case "silu", "swish": self = .silu
        case "gelu_pytorch_tanh", "gelu_new", "gelu_fast", "gelu_python_tanh": self = .geluTanh
        case "gelu", "gelu_python": self = .gelu
        case "relu": self = .relu
        case "relu2": self = .reluSquared
        default: return nil
        }
    }

    /// As config.json names it.
    var name: String {
        switch self {
        case .silu: "silu"
        case .geluTanh: "gelu_pytorch_tanh"
        case .gelu: "gelu"
        case .relu: "relu"
        case .reluSquared: "relu2"
        case .clamped: "clamped"
        }
    }

    /// The names of those that config.json may name, for error texts.
    static let names = "silu, gelu, gelu_pytorch_tanh, relu and relu2"
}
