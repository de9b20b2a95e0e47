// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    import Glibc
#endif

extension GGUFConfig {
    /// The rule of transformers for a tensor `rope_freqs.weight`, by which the frequency of each pair is divided.
    ///
    /// llama.cpp's converter writes it for models with the rule of Llama 3.1, whose numbers no key holds: they are found
    /// again if they are such as models have. Any other divisors are those of longrope, for short and long sequences alike.
    mutating func rule(
        forDivisors divisors: [Double], base: Double, attentionFactor: Double?
    ) throws(PruneError) -> [String: JSONValue] {
        if attentionFactor == nil, let found = Self.llama3(divisors, base: base) {
            return [
                "rope_type": .string("llama3"), "factor": .number(found.factor),
                "low_freq_factor": .number(found.lowFrequencyFactor),
                "high_freq_factor": .number(found.highFrequencyFactor),
                "original_max_position_embeddings": .integer(Int(found.originalContext)),
            ]
        }
        let context = try facts.file.metadata.count(
            facts.key("context_length"), limit: ModelConfig.Limits.context)
        let factors = JSONValue.array(divisors.map { .number($0) })
        return [
            "rope_type": .string("longrope"), "short_factor": factors, "long_factor": factors, "factor": .number(1),
            "attention_factor": .number(attentionFactor ?? 1), "original_max_position_embeddings": .integer(context),
        ]
    }

    /// The numbers of Llama 3.1's rule that give these divisors, to the rounding of fp32; nil if none of those that models
    /// have do.
    private static func llama3(_ divisors: [Double], base: Double) -> RotaryParameters.Llama3? {
        let factor = divisors.max() ?? 1
        guard factor > 1, base > 1 else { return nil }
        for power in 10...20 {
            let rule = RotaryParameters.Llama3(
                factor: factor, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalContext: pow(2, Double(power)))
            let parameters = RotaryParameters(
                size: 2 * divisors.count, pairing: .halves, base: base, scaling: .llama3(rule))
            let plain = RotaryParameters(size: 2 * divisors.count, pairing: .halves, base: base, scaling: .none)
            let found = zip(plain.inverseFrequencies(length: 1), parameters.inverseFrequencies(length: 1)).map {
                $0 / $1
            }
            if zip(found, divisors).allSatisfy({ abs($0 - $1) <= 1e-6 * $1 }) { return rule }
        }
        return nil
    }
}
