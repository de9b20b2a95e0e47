/// A JSON value as a tree, for small files that are looked up by key.
enum JSONValue: Sendable, Equatable {
    case null
    case bool(Bool)
    case integer(Int)
    case number(Double)
    case string(String)
    case array([JSONValue])
    case object([String: JSONValue])

    /// Reads a whole text. Errors: `.format`, naming `source` and the byte.
    static func parse(_ bytes: [UInt8], source: String) throws(PruneError) -> JSONValue {
        var reader = JSONReader(bytes, source: source)
        let value = try reader.readValue()
        try reader.finish()
        return value
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
