// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    import Glibc
#endif

extension RotaryParameters.YaRN {
    static func read(
        _ object: ConfigObject, _ originalContext: Double, contextLength: Double
    ) throws(PruneError) -> Self {
        // Written as null, it is the ratio of the contexts; left out, it is an error.
        let derivesFactor = object.mentions("factor") && object.value("factor") == nil
        let factor = derivesFactor ? contextLength / originalContext : try object.positive("factor")
        let attentionFactor = try readAttentionFactor(object, factor)
        guard attentionFactor > 0, attentionFactor.isFinite else {
            throw object.fault(
                .format, "type", "yarn gives the attention factor \(attentionFactor); it must be finite and above 0")
        }
        return Self(
            factor: factor, originalContext: originalContext,
            betaFast: try readBeta(object, "beta_fast", default: 32),
            betaSlow: try readBeta(object, "beta_slow", default: 1),
            // In transformers a null is false here.
            truncates: try object.bool("truncate", default: !object.mentions("truncate")),
            attentionFactor: attentionFactor)
    }

    /// `attention_factor`, or section 3.4 of the paper with the two multipliers that DeepSeek added.
    private static func readAttentionFactor(_ object: ConfigObject, _ factor: Double) throws(PruneError) -> Double {
        if let given = try object.optionalNumber("attention_factor") { return given }
        let numerator = try object.optionalNumber("mscale") ?? 0
        let denominator = try object.optionalNumber("mscale_all_dim") ?? 0
        return numerator != 0 && denominator != 0
            ? attentionFactor(factor, numerator) / attentionFactor(factor, denominator) : attentionFactor(factor)
    }

    /// What the paper recommends for a factor.
    static func attentionFactor(_ factor: Double, _ multiplier: Double = 1) -> Double {
        factor <= 1 ? 1 : 0.1 * multiplier * log(factor) + 1
    }

    /// 0 stands for the default, as in transformers.
    private static func readBeta(
        _ object: ConfigObject, _ key: String, default missing: Double
    ) throws(PruneError) -> Double {
        let beta = try object.optionalNumber(key) ?? 0
        guard beta >= 0 else { throw object.fault(.format, key, "is \(beta); it must be above 0") }
        return beta == 0 ? missing : beta
    }
}
