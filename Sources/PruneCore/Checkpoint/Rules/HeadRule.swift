// SPDX-License-Identifier: Apache-2.0
/// How hidden states become logits.
struct HeadRule: Sendable {
    var isTied = Setting.key("tie_word_embeddings", missing: false)
    var hasBias = false
    /// On all logits.
    var scale = Scale.none
    var softCap = Setting<Double?>.fixed(nil)
    /// The module that takes hidden states to the width of the embedding's table, where that differs.
    var projection: String?

    enum Scale: Sendable {
        case none
        case times(String, missing: Double)
        case over(String, missing: Double)
    }
}

extension HeadRule.Scale {
    func read(_ file: ConfigObject) throws(PruneError) -> Float {
        switch self {
        case .none: 1
        case .times(let key, let missing): Float(try file.optionalNumber(key) ?? missing)
        case .over(let key, let missing): Float(1 / (try file.optionalPositive(key) ?? missing))
        }
    }
}
