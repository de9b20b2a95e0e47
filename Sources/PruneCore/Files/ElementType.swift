// SPDX-License-Identifier: Apache-2.0
/// Storage type of a tensor's elements. The raw values are the names that users see.
///
/// Quantised types, those of GGUF files, store blocks: some consecutive elements of a row share what they are scaled by.
/// Layouts: `ggml-common.h` of llama.cpp.
public enum ElementType: String, Sendable, CaseIterable {
    case float32 = "fp32"
    case float16 = "fp16"
    case bfloat16 = "bf16"
    case q8_0
    case q4_0
    case q4_1
    case q5_0
    case q5_1
    case q2K = "q2_k"
    case q3K = "q3_k"
    case q4K = "q4_k"
    case q5K = "q5_k"
    case q6K = "q6_k"
    case q8K = "q8_k"
    case iq4NL = "iq4_nl"
    case iq4XS = "iq4_xs"
    case mxfp4

    /// Whether elements are stored in blocks.
    var isQuantised: Bool { block.elements > 1 }

    /// Elements of a block; 1 of a type without.
    var blockElements: Int { block.elements }

    /// Bytes of a block: of one element, for a type without.
    var blockBytes: Int { block.bytes }

    private var block: (elements: Int, bytes: Int) {
        switch self {
        case .float32: (1, 4)
        case .float16, .bfloat16: (1, 2)
        case .q8_0: (32, 34)
        case .q4_0, .iq4NL: (32, 18)
        case .q4_1: (32, 20)
        case .q5_0: (32, 22)
        case .q5_1: (32, 24)
        case .q2K: (256, 84)
        case .q3K: (256, 110)
        case .q4K: (256, 144)
        case .q5K: (256, 176)
        case .q6K: (256, 210)
        case .q8K: (256, 292)
        case .iq4XS: (256, 136)
        case .mxfp4: (32, 17)
        }
    }

    /// Bytes of some elements, a whole number of blocks.
    func bytes(of elements: Int) -> Int { elements / blockElements * blockBytes }

    /// The type that a safetensors header calls `dtype`; nil if the engine does not compute with it.
    init?(safetensors dtype: String) {
        switch dtype {
        case "F32": self = .float32
        case "F16": self = .float16
        case "BF16": self = .bfloat16
        default: return nil
        }
    }

    /// The type with this number in a GGUF file (`ggml_type`); nil if the engine does not compute with it.
    init?(ggml number: UInt32) {
        switch number {
        case 0: self = .float32
        case 1: self = .float16
        case 2: self = .q4_0
        case 3: self = .q4_1
        case 6: self = .q5_0
        case 7: self = .q5_1
        case 8: self = .q8_0
        case 10: self = .q2K
        case 11: self = .q3K
        case 12: self = .q4K
        case 13: self = .q5K
        case 14: self = .q6K
        case 15: self = .q8K
        case 20: self = .iq4NL
        case 23: self = .iq4XS
        case 30: self = .bfloat16
        case 39: self = .mxfp4
        default: return nil
        }
    }
}
