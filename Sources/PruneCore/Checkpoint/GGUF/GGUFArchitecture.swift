// SPDX-License-Identifier: Apache-2.0
/// An architecture of llama.cpp: which family of transformers it is, and what its files say otherwise.
///
/// A file becomes the configuration that the family has in transformers, read by the row of the family with the names
/// that tensors have in the file: so plans, and all that is computed, are those of the family.
///
/// Source of each row: `src/models/*.cpp` of llama.cpp, and its `convert_hf_to_gguf.py`.
struct GGUFArchitecture: Sendable {
    /// `general.architecture`.
    let name: String
    /// Of the family in transformers, as that stores it.
    var family: Architecture
    /// Another family, where the file holds what it has: a mixture of experts, or windows.
    var familyIf: FamilyIf?
    /// Which entries of a head turn together; rows of queries and keys are stored in the order for it.
    var pairing = Kernels.Pairing.halves
    /// The norm before the feed-forward.
    var feedForwardNorm = "ffn_norm"
    /// Whether windows are said by a key, or hold for all but every n-th layer without it; nil = no layer has one.
    var windows: Windows?
    /// With so many layers scores are scaled by 1 / sqrt(hidden size / heads), instead of the size of a head; nil = never.
    var largeLayers: Int?
    /// Keys of the file (behind the name of the architecture) and of config.json that say the same number.
    var numbers: [(key: String, config: String)] = []
    /// The same for whole numbers.
    var counts: [(key: String, config: String)] = []
    /// What config.json has in every file.
    var constants: [String: JSONValue] = [:]
    /// Whether sublayers stand side by side where no layer has a norm before the feed-forward.
    var isParallelWithoutNorm = false

    struct FamilyIf: Sendable {
        let condition: Condition
        let family: Architecture

        enum Condition: Sendable {
            /// A number above 0 under this key.
            case number(String)
            /// A tensor of layers of this name.
            case tensor(String)
        }
    }

    struct Windows: Sendable {
        /// All but every n-th layer have one where no key lists them.
        let usualStep: Int
        /// The window where no key says it; nil = then there is none.
        let missing: Int?
        /// The number of layers that a model with windows has; nil = any.
        var layers: Int?
    }

    init(_ name: String, _ family: Architecture, _ differ: (inout GGUFArchitecture) -> Void = { _ in }) {
        self.name = name
        self.family = family
        differ(&self)
    }
}
