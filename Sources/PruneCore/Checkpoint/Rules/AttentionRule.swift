// SPDX-License-Identifier: Apache-2.0
/// What attention computes besides its projections.
struct AttentionRule: Sendable {
    /// Of query, key and value.
    var inputBias = Setting.fixed(false)
    var outputBias = Setting.fixed(false)
    /// Whether queries and keys are normed.
    var hasHeadNorms = Setting.fixed(false)
    var headNormSpan = HeadNormPlan.Span.head
    var headNormHasBias = false
    /// Whether each head's gain is a tensor of its own, `norms.0` and on.
    var separatesHeadNorms = false
    var scale = ScaleRule.headSize
    var softCap = Setting<Double?>.fixed(nil)
    var clip = Setting<Double?>.fixed(nil)
    var hasSinks = false

    enum ScaleRule: Sendable {
        /// 1 / sqrt(head size)
        case headSize
        /// The key's number.
        case key(String, missing: Double)
        /// 1 / sqrt(the key's number)
        case inverseRoot(String, missing: Double)
        /// 1 / sqrt(head size), if a key is true divided by the number of the block, from 1.
        case headSizeAndBlock(String)
    }
}

extension AttentionRule.ScaleRule {
    /// - Parameter block: counted from 0.
    func read(_ file: ConfigObject, headSize: Int, block: Int) throws(PruneError) -> Float {
        switch self {
        case .headSize: return 1 / Float(headSize).squareRoot()
        case .key(let key, let missing): return Float(try file.optionalPositive(key) ?? missing)
        case .inverseRoot(let key, let missing):
            return Float(1 / (try file.optionalPositive(key) ?? missing).squareRoot())
        case .headSizeAndBlock(let key):
            let scale = 1 / Float(headSize).squareRoot()
            return try file.bool(key, default: false) ? scale / Float(block + 1) : scale
        }
    }
}
