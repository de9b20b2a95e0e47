// SPDX-License-Identifier: Apache-2.0
/// How tokens become hidden states.
struct EmbeddingRule: Sendable {
    var scale = Scale.none
    /// Learned positions begin at this row of theirs.
    var positionOffset: Int?
    /// A key with the width of the table, and the module that takes its rows to the hidden size.
    var width: (key: String, into: String)?

    enum Scale: Sendable {
        case none
        /// sqrt(hidden size)
        case rootOfWidth
        case key(String, missing: Double)
    }
}

extension EmbeddingRule.Scale {
    func read(_ file: ConfigObject, width: Int) throws(PruneError) -> Float {
        switch self {
        case .none: 1
        case .rootOfWidth: Float(Double(width).squareRoot())
        case .key(let key, let missing): Float(try file.optionalNumber(key) ?? missing)
        }
    }
}
