// SPDX-License-Identifier: Apache-2.0
/// A JSON value as a tree, for small files that are looked up by key.
enum JSONValue: Sendable, Equatable {
    case null
    case bool(Bool)
    /// A whole number that fits an Int, also if written as 2.0 or 2e0: JSON has one kind of number.
    case integer(Int)
    case number(Double)
    case string(String)
    case array([JSONValue])
    case object([String: JSONValue])

    /// Reads a whole text. Errors: as `JSONText.parse`.
    static func parse(
        _ bytes: [UInt8], source: String, nonFinite: JSONText.NonFiniteNumbers = .refused
    ) throws(PruneError) -> JSONValue {
        try JSONText.parse(bytes, source: source, nonFinite: nonFinite)
    }

    /// The value as an error text shows it.
    var described: String {
        switch self {
        case .null: "null"
        case .bool(let value): String(value)
        case .integer(let value): String(value)
        case .number(.infinity): "Infinity"
        case .number(-.infinity): "-Infinity"
        case .number(let value): value.isNaN ? "NaN" : String(value)
        case .string(let value): value.quoted
        case .array: "an array"
        case .object: "an object"
        }
    }
}

extension [String: JSONValue] {
    /// The members, all of which must be strings.
    ///
    /// Errors: `fault` of the first key, in alphabetical order, whose value is something else.
    func strings(else fault: (String, JSONValue) -> PruneError) throws(PruneError) -> [String: String] {
        var strings: [String: String] = [:]
        strings.reserveCapacity(count)
        var bad: String?
        for (key, value) in self {
            if case .string(let string) = value {
                strings[key] = string
            } else if bad.map({ key < $0 }) ?? true {
                bad = key
            }
        }
        if let bad { throw fault(bad, self[bad] ?? .null) }
        return strings
    }
}
