// SPDX-License-Identifier: Apache-2.0
/// Reads the objects that declare a rotary embedding.
struct RotaryReader {
    let rule: RotaryRule
    let file: ConfigObject
    let headSize: Int
    let contextLength: Double

    /// Today's files hold an object `rope_parameters`; older ones `rope_theta` beside an object `rope_scaling`. If both
    /// objects are there, `rope_scaling` is used, as in transformers.
    func read() throws(PruneError) -> RotaryParameters {
        var key = "rope_scaling"
        var object = try file.optionalObject(key)
        if object?.isEmpty ?? true {
            key = "rope_parameters"
            object = try file.optionalObject(key)
        }
        if let object, let nested = object.firstNestedKey {
            throw object.fault(
                .unsupported, nested,
                "is an object; rotary parameters per kind of layer are not supported in this family"
            )
        }
        return try parameters(object, key, baseKey: rule.baseKey, missingBase: rule.missingBase)
    }

    /// Of the blocks without a window, where those with one have their own.
    func readFull() throws(PruneError) -> RotaryParameters {
        let own = try file.optionalObject("rope_parameters")?.optionalObject("full_attention")
        let old = try file.optionalObject("rope_scaling")
        let usesOld = !(old?.isEmpty ?? true)
        // transformers reads it under its new name alone, and computes something else.
        if usesOld, let old, let type = try old.optionalString("type"), type != "default", old.value("rope_type") == nil
        {
            throw old.fault(.unsupported, "type", "is \(type.quoted) by its old name; call it rope_type")
        }
        return try parameters(
            usesOld ? old : own, usesOld ? "rope_scaling" : "rope_parameters", baseKey: rule.baseKey,
            missingBase: rule.missingBase)
    }

    func readWindowed(_ windowed: RotaryRule.Windowed) throws(PruneError) -> RotaryParameters {
        try parameters(
            try file.optionalObject("rope_parameters")?.optionalObject("sliding_attention"), "rope_parameters",
            baseKey: windowed.baseKey, missingBase: windowed.missingBase)
    }

    private func parameters(
        _ object: ConfigObject?, _ key: String, baseKey: String?, missingBase: Double
    ) throws(PruneError) -> RotaryParameters {
        // The name in the object is the same in every family.
        let declared = try object?.optionalPositive("rope_theta")
        var base = missingBase
        if let declared {
            base = declared
        } else if let baseKey, let own = try file.optionalPositive(baseKey) {
            base = own
        }
        guard base >= 1 else { throw file.fault(.format, "rope_theta", "is \(base); it must be at least 1") }
        let part = try readPart(object)
        let isProportional = try object.map { object throws(PruneError) in try type(of: object).name } == "proportional"
        let size = isProportional ? headSize : Int(Double(headSize) * part)
        guard size > 0, size < headSize || size % 2 == 0 else {
            throw file.fault(
                .unsupported, "head_dim", "is \(headSize); the rotary embedding needs heads of even size")
        }
        var scaling = rule.missingScaling
        if let object {
            // The file's own key goes before that of the object.
            let key = "original_max_position_embeddings"
            var originalContext = contextLength
            if let own = try file.optionalPositive(key) ?? rule.missingOriginalContext {
                originalContext = own
            } else if let own = try object.optionalPositive(key) {
                originalContext = own
            }
            scaling = try readScaling(object, base, originalContext, size: size, part: part)
        }
        let rotary = RotaryParameters(size: size, pairing: rule.pairing, base: base, scaling: scaling)
        // Numbers that are plausible one by one may not be so together.
        let lengths = [1, Int(contextLength), 2 * Int(contextLength)]
        guard lengths.allSatisfy({ rotary.inverseFrequencies(length: $0).allSatisfy(\.isFinite) }) else {
            throw file.fault(
                .format, key, "gives rotary frequencies that are not finite; check its numbers")
        }
        return rotary
    }

    private func readPart(_ object: ConfigObject?) throws(PruneError) -> Double {
        let own = try object?.optionalPositive("partial_rotary_factor")
        var part = rule.missingPart
        if let own { part = own } else if let own = try file.optionalPositive(rule.partKey) { part = own }
        let (holder, key) = own == nil ? (file, rule.partKey) : (object ?? file, "partial_rotary_factor")
        guard part <= 1 else { throw holder.fault(.format, key, "is \(part); it must be at most 1") }
        // Proportional parameters keep the head's size.
        let isProportional = try object.map { object throws(PruneError) in try type(of: object).name } == "proportional"
        guard rule.turnsPart || isProportional || part == 1 else {
            throw holder.fault(
                .unsupported, key, "is \(part); heads of this family turn as a whole (1)")
        }
        return part
    }

    /// The type that an object names, and the key it does so by.
    private func type(of object: ConfigObject) throws(PruneError) -> (name: String, key: String) {
        let key = object.value("rope_type") != nil ? "rope_type" : "type"
        let name = try object.optionalString(key) ?? "default"
        return (rule.typeNames[name] ?? name, key)
    }

    private func readScaling(
        _ object: ConfigObject, _ base: Double, _ originalContext: Double, size: Int, part: Double
    ) throws(PruneError) -> RotaryParameters.Scaling {
        let (type, key) = try type(of: object)
        switch type {
        case "default":
            return .none
        case "linear":
            return .linear(factor: try object.positive("factor"))
        case "dynamic":
            let factor = try object.positive("factor")
            guard size > 2, factor >= 1 else {
                throw object.fault(
                    .format, "factor",
                    "is \(factor); dynamic needs at least 1, and heads of which more than 2 values turn")
            }
            return .dynamic(factor: factor, context: contextLength)
        case "llama3":
            let rule = RotaryParameters.Llama3(
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
            return .yarn(try RotaryParameters.YaRN.read(object, originalContext, contextLength: contextLength))
        case "longrope":
            return .longRoPE(
                try RotaryParameters.LongRoPE.read(
                    object, originalContext, contextLength: contextLength, pairs: (size + 1) / 2))
        case "proportional":
            return .proportional(
                pairs: Int(part * Double(headSize) / 2), factor: try object.optionalPositive("factor") ?? 1)
        default:
            throw object.fault(
                .unsupported, key,
                "is \(type.quoted); supported are default, linear, dynamic, llama3, yarn, longrope and proportional")
        }
    }
}
