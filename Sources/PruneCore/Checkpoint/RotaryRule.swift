// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    import Glibc
#endif

/// How a family declares its rotary embedding.
struct RotaryRule: Sendable {
    var blocks = Blocks.all
    var pairing = Kernels.Pairing.halves
    var baseKey = "rope_theta"
    var missingBase = 10_000.0
    /// Whether the share of a head that turns may be less than 1.
    var turnsPart = false
    /// That share.
    var partKey = "partial_rotary_factor"
    var missingPart = 1.0
    /// Other names of types.
    var typeNames: [String: String] = [:]
    /// What `original_max_position_embeddings` is, whatever stands beside the type, where config.json does not have it at its
    /// top.
    var missingOriginalContext: Double?
    /// Where no object declares any.
    var missingScaling = RotaryParameters.Scaling.none
    /// Blocks with a window have parameters of their own; nil = they have those of the others.
    var windowed: Windowed?

    enum Blocks: Sendable {
        case all
        case none
        /// Those that `no_rope_layers` has a 1 for or, without that list, all but every n-th, n by `no_rope_layer_interval`.
        case listed
        /// Those with a window; all of a model that has none, if `orAll`.
        case windowed(orAll: Bool)
    }

    struct Windowed: Sendable {
        /// nil = there is no such key.
        var baseKey: String?
        var missingBase: Double
    }
}

extension RotaryRule {
    /// The rotary embedding of every block; nil where heads do not turn.
    ///
    /// Errors: `.format` if a key is missing, of the wrong type or out of range; `.unsupported` for another type, and for
    /// parameters per kind of layer in families that have none.
    func read(
        _ file: ConfigObject, headSize: Int, contextLength: Int, windows: [Int?]
    ) throws(PruneError) -> [RotaryParameters?] {
        let turned: [Bool]
        switch blocks {
        case .none: return Array(repeating: nil, count: windows.count)
        case .all: turned = Array(repeating: true, count: windows.count)
        case .listed: turned = try Self.readTurnedBlocks(file, windows.count)
        case .windowed(let orAll):
            let isAll = orAll && windows.allSatisfy { $0 == nil }
            turned = windows.map { isAll || $0 != nil }
        }
        let reader = RotaryReader(rule: self, file: file, headSize: headSize, contextLength: Double(contextLength))
        guard let windowed else {
            let parameters = try reader.read()
            return turned.map { $0 ? parameters : nil }
        }
        let others = try reader.readFull()
        let own = try reader.readWindowed(windowed)
        return zip(turned, windows).map { $0 ? ($1 == nil ? others : own) : nil }
    }

    /// Which blocks turn their heads, by `no_rope_layers`.
    static func readTurnedBlocks(_ file: ConfigObject, _ blockCount: Int) throws(PruneError) -> [Bool] {
        let key = "no_rope_layers"
        if file.value(key) != nil {
            let numbers = try file.numbers(key)
            guard numbers.count >= blockCount else {
                throw file.fault(.format, key, "has \(numbers.count) entries; the model has \(blockCount) blocks")
            }
            return numbers.prefix(blockCount).map { $0 != 0 }
        }
        let step = try file.optionalCount("no_rope_layer_interval", limit: ModelConfig.Limits.blocks) ?? 4
        return (0..<blockCount).map { ($0 + 1) % step != 0 }
    }
}

/// Reads the objects that declare a rotary embedding.
private struct RotaryReader {
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

extension RotaryParameters.LongRoPE {
    fileprivate static func read(
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
