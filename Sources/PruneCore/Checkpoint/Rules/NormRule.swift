// SPDX-License-Identifier: Apache-2.0
/// The norms of a family: their formula, and where blocks have them.
struct NormRule: Sendable {
    var kind = NormKind.rootMeanSquare
    /// Added to the stored gain.
    var offset: Float = 0
    var hasGain = Setting.fixed(true)
    var hasBias = false
    var epsilonKey: String? = "rms_norm_eps"
    var missingEpsilon = 1e-6
    var placing = Placing.beforeSublayers

    enum Placing: Sendable {
        case beforeSublayers
        /// Where the key is false, the norms of all blocks follow the sum, and the model has none at its end.
        case beforeIf(String, missing: Bool)
        /// By the keys `norm_type` and `post_num`: see `NormTypes`.
        case declared
    }
}

extension NormRule {
    func readEpsilon(_ file: ConfigObject) throws(PruneError) -> Float {
        guard let key = epsilonKey else { return Float(missingEpsilon) }
        let epsilon = try file.optionalPositive(key) ?? missingEpsilon
        guard Float(epsilon) > 0, Float(epsilon).isFinite else {
            throw file.fault(.format, key, "is \(epsilon), which a float cannot hold")
        }
        return Float(epsilon)
    }
}
