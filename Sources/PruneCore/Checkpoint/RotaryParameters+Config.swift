// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    import Glibc
#endif

extension RotaryParameters {
    /// `rope_theta` where no key gives it.
    private static let defaultBase = 10_000.0

    /// Reads the rotary embedding of config.json.
    ///
    /// Today's files hold an object `rope_parameters`; older ones `rope_theta` beside an object `rope_scaling`. If both
    /// objects are there, `rope_scaling` is used, as in transformers.
    /// Errors: `.format` if a key is missing, of the wrong type or out of range; `.unsupported` for another type, for
    /// parameters per kind of layer, and for heads that turn only in part.
    static func read(_ file: ConfigObject, headSize: Int, contextLength: Int) throws(PruneError) -> RotaryParameters {
        var key = "rope_scaling"
        var object = try file.optionalObject(key)
        if object?.isEmpty ?? true {
            key = "rope_parameters"
            object = try file.optionalObject(key)
        }
        if let object, let nested = object.firstNestedKey {
            throw object.fault(
                .unsupported, nested, "is an object; rotary parameters per kind of layer are not supported")
        }
        try refusePartialRotation(object, file)
        let base = try ConfigObject.firstPositive("rope_theta", in: [object, file]) ?? defaultBase
        guard base >= 1 else { throw file.fault(.format, "rope_theta", "is \(base); it must be at least 1") }

        var rotary = RotaryParameters(base: base, scaling: .none)
        if let object {
            // The file's own key goes before that of the object.
            let originalContext =
                try ConfigObject.firstPositive("original_max_position_embeddings", in: [file, object])
                ?? Double(contextLength)
            rotary = RotaryParameters(
                base: base,
                scaling: try readScaling(object, base, originalContext, contextLength: Double(contextLength)))
        }
        // Numbers that are plausible one by one may not be so together.
        guard rotary.inverseFrequencies(headSize: headSize).allSatisfy(\.isFinite) else {
            throw file.fault(
                .format, key, "gives rotary frequencies that are not finite; check its numbers")
        }
        return rotary
    }

    private static func refusePartialRotation(_ object: ConfigObject?, _ file: ConfigObject) throws(PruneError) {
        let key = "partial_rotary_factor"
        let holder = object?.value(key) == nil ? file : object ?? file
        guard let part = try holder.optionalNumber(key), part != 1 else { return }
        throw holder.fault(.unsupported, key, "is \(part); only heads that turn as a whole (1) are supported")
    }

    private static func readScaling(
        _ object: ConfigObject, _ base: Double, _ originalContext: Double, contextLength: Double
    ) throws(PruneError) -> Scaling {
        let typeKey = object.value("rope_type") != nil ? "rope_type" : "type"
        let type = try object.optionalString(typeKey) ?? "default"
        switch type {
        case "default":
            return .none
        case "linear":
            return .linear(factor: try object.positive("factor"))
        case "llama3":
            let rule = Llama3(
                factor: try object.positive("factor"),
                lowFrequencyFactor: try object.positive("low_freq_factor"),
                highFrequencyFactor: try object.positive("high_freq_factor"),
                originalContext: originalContext)
            guard rule.highFrequencyFactor > rule.lowFrequencyFactor else {
                throw object.fault(
                    .format, "high_freq_factor",
                    "is \(rule.highFrequencyFactor); it must be above low_freq_factor, \(rule.lowFrequencyFactor)")
            }
            return .llama3(rule)
        case "yarn":
            guard base > 1 else { throw object.fault(.format, "rope_theta", "is \(base); YaRN needs a base above 1") }
            return .yarn(try YaRN.read(object, originalContext, contextLength: contextLength))
        default:
            throw object.fault(
                .unsupported, typeKey, "is \(type.quoted); supported are default, linear, llama3 and yarn")
        }
    }
}

extension RotaryParameters.YaRN {
    fileprivate static func read(
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
        func scale(_ multiplier: Double) -> Double { factor <= 1 ? 1 : 0.1 * multiplier * log(factor) + 1 }
        let numerator = try object.optionalNumber("mscale") ?? 0
        let denominator = try object.optionalNumber("mscale_all_dim") ?? 0
        return numerator != 0 && denominator != 0 ? scale(numerator) / scale(denominator) : scale(1)
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
