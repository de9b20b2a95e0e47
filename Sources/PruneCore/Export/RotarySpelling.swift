// SPDX-License-Identifier: Apache-2.0
/// The rotary embedding in both spellings of config.json: today's object `rope_parameters`, and the keys of older files,
/// `rope_theta` beside an object `rope_scaling`.
///
/// Runtimes that know one spelling alone (mlx-lm 0.32 reads the older one) take missing keys for the defaults of a family,
/// and compute another model without a word. transformers 5 reads both, and prefers `rope_scaling`: it gets every member of
/// `rope_parameters`.
struct RotarySpelling {
    private let model: ModelConfig
    private let text: ConfigText
    private let source: String
    /// `rope_scaling`, if it is there and not empty.
    private let old: ConfigText?
    /// `rope_parameters`, or what it has for blocks without a window.
    private let new: ConfigText?

    private var rule: RotaryRule { model.architecture.rotary }

    /// - Parameter text: config.json, which gave `model`.
    init(_ text: ConfigText, of model: ModelConfig, source: String) {
        func object(_ key: String, in text: ConfigText?) -> ConfigText? {
            text?.value(key).flatMap { try? ConfigText(Array($0.utf8), source: source) }
        }
        self.model = model
        self.text = text
        self.source = source
        old = object("rope_scaling", in: text).flatMap { $0.isEmpty ? nil : $0 }
        let declared = object("rope_parameters", in: text)
        new = model.architecture.rotary.windowed == nil ? declared : object("full_attention", in: declared)
    }

    /// The text with both, or as it was if the older spelling cannot say what the model has.
    func both() -> ConfigText {
        let blocks = Self.rotations(model)
        let turned = blocks.filter { $0.rotary != nil }
        guard let main = (turned.first { $0.window == nil || rule.windowed == nil })?.rotary else { return text }
        var result = text
        set(rule.baseKey, main.base, like: [declared?.value("rope_theta"), text.value(rule.baseKey)], &result)
        if let windowed = rule.windowed, let own = (turned.first { $0.window != nil })?.rotary {
            if let key = windowed.baseKey {
                set(key, own.base, like: [text.value(key)], &result)
            } else if own.base != main.base {
                return text
            }
        }
        setPart(main, &result)
        setScaling(main, &result)
        // This library reads both spellings, too: what they say together must be what was there before.
        guard let again = try? ModelConfig.parse(Array(result.text.utf8), path: source),
            Self.rotations(again).map(\.rotary) == blocks.map(\.rotary)
        else { return text }
        return result
    }

    /// What the model's numbers come from.
    private var declared: ConfigText? { old ?? new }

    private static func rotations(_ model: ModelConfig) -> [(window: Int?, rotary: RotaryParameters?)] {
        stride(from: 0, to: model.sublayers.count, by: 2).map { index in
            guard case .attention(let plan) = model.sublayers[index].update else { return (nil, nil) }
            return (plan.window, plan.rotary)
        }
    }

    /// Writes a number with the digits that the file has for it, if it has.
    private func set(_ key: String, _ value: Double, like written: [String?], _ text: inout ConfigText) {
        let digits = written.lazy.compactMap { $0 }.first { Double($0) == value }
        text.set(key, written: digits ?? JSONValue.number(value).text)
    }

    /// The share of a head that turns, in families where it may be less than 1.
    private func setPart(_ rotary: RotaryParameters, _ text: inout ConfigText) {
        if case .proportional = rotary.scaling { return }
        guard rule.turnsPart else { return }
        if let own = declared?.value("partial_rotary_factor"), own != "null" {
            text.set(rule.partKey, written: own)
        } else if text.value(rule.partKey) ?? "null" == "null" {
            text.set(rule.partKey, .number(rule.missingPart))
        }
    }

    private func setScaling(_ rotary: RotaryParameters, _ text: inout ConfigText) {
        guard var members = declared else { return }
        if case .none = rotary.scaling, old == nil {
            // Older files say so; some readers want the key.
            return text.set("rope_scaling", .null)
        }
        if let only = rule.oldScalingMembers {
            // Earlier versions of transformers refuse objects with any others.
            guard old == nil else { return }
            complete(&members, rotary)
            return text.set("rope_scaling", written: members.only(only).inline)
        }
        members.remove("rope_theta")
        complete(&members, rotary)
        text.set("rope_scaling", written: members.inline)
    }

    /// Names the rule by both names, and writes out what readers take for different numbers where it is missing.
    private func complete(_ members: inout ConfigText, _ rotary: RotaryParameters) {
        if let name = members.value("rope_type") ?? members.value("type") {
            members.set("type", written: name)
            members.set("rope_type", written: name)
        }
        func add(_ key: String, _ number: Double) {
            guard members.value(key) ?? "null" == "null" else { return }
            members.set(key, Int(exactly: number).map { .integer($0) } ?? .number(number))
        }
        let context = "original_max_position_embeddings"
        switch rotary.scaling {
        case .llama3(let rule): add(context, rule.originalContext)
        case .yarn(let rule):
            add(context, rule.originalContext)
            add("factor", rule.factor)
        case .longRoPE(let rule):
            add(context, Double(rule.originalContext))
            add("factor", Double(model.contextLength) / Double(rule.originalContext))
        case .none, .linear, .dynamic, .proportional: break
        }
    }
}
