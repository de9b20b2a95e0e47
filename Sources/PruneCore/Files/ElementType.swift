// SPDX-License-Identifier: Apache-2.0
/// Storage type of a tensor's elements. The raw values are the names that users see.
public enum ElementType: String, Sendable {
    case float32 = "fp32"
    case float16 = "fp16"
    case bfloat16 = "bf16"

    /// Bytes of one element.
    var byteCount: Int {
        switch self {
        case .float32: 4
        case .float16, .bfloat16: 2
        }
    }

    /// The type that a safetensors header calls `dtype`; nil if the engine does not compute with it.
    init?(safetensors dtype: String) {
        switch dtype {
        case "F32": self = .float32
        case "F16": self = .float16
        case "BF16": self = .bfloat16
        default: return nil
        }
    }
}
