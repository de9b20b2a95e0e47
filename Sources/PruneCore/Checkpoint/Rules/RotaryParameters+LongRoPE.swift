// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    import Glibc
#endif

extension RotaryParameters.LongRoPE {
    static func read(
        _ object: ConfigObject, _ originalContext: Double, contextLength: Double, pairs: Int
    ) throws(PruneError) -> Self {
        func factors(_ key: String) throws(PruneError) -> [Double] {
            let factors = try object.numbers(key)
            guard factors.count == pairs, factors.allSatisfy({ $0 > 0 }) else {
                throw object.fault(
                    .format, key, "has \(factors.count) numbers; it must have \(pairs), all of them above 0")
            }
            return factors
        }
        guard originalContext > 1, originalContext <= Double(ModelConfig.Limits.context) else {
            throw object.fault(
                .format, "original_max_position_embeddings", "is \(originalContext); longrope needs more than 1")
        }
        let factor = try object.optionalPositive("factor") ?? contextLength / originalContext
        let usual = factor <= 1 ? 1 : (1 + log(factor) / log(originalContext)).squareRoot()
        let attentionFactor = try object.optionalPositive("attention_factor") ?? usual
        return Self(
            shortFactors: try factors("short_factor"), longFactors: try factors("long_factor"),
            originalContext: Int(originalContext), attentionFactor: attentionFactor)
    }
}
