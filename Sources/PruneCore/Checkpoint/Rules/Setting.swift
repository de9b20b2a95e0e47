// SPDX-License-Identifier: Apache-2.0
/// A fact of a family: always the same, or what a key of config.json says.
enum Setting<Value: Sendable>: Sendable {
    case fixed(Value)
    /// `missing` is what transformers takes the key to be where config.json leaves it out.
    case key(String, missing: Value)
}

extension Setting<Bool> {
    func read(_ file: ConfigObject) throws(PruneError) -> Bool {
        switch self {
        case .fixed(let value): value
        case .key(let key, let missing): try file.bool(key, default: missing)
        }
    }
}

extension Setting<Double> {
    func read(_ file: ConfigObject) throws(PruneError) -> Double {
        switch self {
        case .fixed(let value): value
        case .key(let key, let missing): try file.optionalNumber(key) ?? missing
        }
    }
}

extension Setting<Double?> {
    /// A number above 0; written as null, it is none.
    func read(_ file: ConfigObject) throws(PruneError) -> Double? {
        switch self {
        case .fixed(let value): value
        case .key(let key, let missing): file.mentions(key) ? try file.optionalPositive(key) : missing
        }
    }
}
