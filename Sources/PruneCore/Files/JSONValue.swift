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

    /// Reads a whole text. Errors: `.format`, naming `source`.
    static func parse(_ bytes: [UInt8], source: String) throws(PruneError) -> JSONValue {
        try JSONText.decode(JSONValue.self, from: bytes, source: source)
    }

    /// The value as an error text shows it.
    var described: String {
        switch self {
        case .null: "null"
        case .bool(let value): String(value)
        case .integer(let value): String(value)
        case .number(let value): String(value)
        case .string(let value): value.quoted
        case .array: "an array"
        case .object: "an object"
        }
    }
}

extension JSONValue: JSONContent {
    /// The kinds exclude each other in JSON, but for integers and other numbers; the order is by how often they occur,
    /// because a wrong guess costs an error thrown and caught.
    init(from decoder: any Decoder) throws {
        let value = try decoder.singleValueContainer()
        if value.decodeNil() {
            self = .null
        } else if let string = try? value.decode(String.self) {
            self = .string(string)
        } else if let integer = try? value.decode(Int.self) {
            self = .integer(integer)
        } else if let number = try? value.decode(Double.self) {
            self = .number(number)
        } else if let bool = try? value.decode(Bool.self) {
            self = .bool(bool)
        } else if var list = try? decoder.unkeyedContainer() {
            var elements: [JSONValue] = []
            while !list.isAtEnd { elements.append(try list.decode(JSONValue.self)) }
            self = .array(elements)
        } else if let object = try? decoder.container(keyedBy: JSONKey.self) {
            var members: [String: JSONValue] = [:]
            for key in object.allKeys { members[key.stringValue] = try object.decode(JSONValue.self, forKey: key) }
            self = .object(members)
        } else {
            // A number out of range, or a string with a bad escape.
            throw DecodingError.dataCorruptedError(in: value, debugDescription: "not a JSON value")
        }
    }

    var commaCount: Int {
        switch self {
        case .null, .bool, .integer, .number, .string: 0
        case .array(let elements): elements.reduce(max(elements.count - 1, 0)) { $0 + $1.commaCount }
        case .object(let members): members.values.reduce(max(members.count - 1, 0)) { $0 + $1.commaCount }
        }
    }
}
