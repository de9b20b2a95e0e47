// SPDX-License-Identifier: Apache-2.0
/// An object of a JSON file such as config.json, with lookups that name file and key when something is wrong.
///
/// `null` counts as missing: transformers writes it for what is not set.
struct ConfigObject {
    /// The file.
    let path: String
    /// Where the object is in the file, with a dot at the end: "", "rope_parameters.".
    let prefix: String
    private let members: [String: JSONValue]
    private let read = ReadKeys()

    /// Keys that were asked for. One per object, whose copies share it.
    private final class ReadKeys {
        var keys: Set<String> = []
    }

    init(path: String, prefix: String, members: [String: JSONValue]) {
        self.path = path
        self.prefix = prefix
        self.members = members
    }

    /// The members that nothing has asked for yet.
    var unread: [String: JSONValue] { members.filter { !read.keys.contains($0.key) && $0.value != .null } }

    /// Errors: `.format` if the text is not a JSON object.
    static func parse(_ json: [UInt8], path: String) throws(PruneError) -> ConfigObject {
        guard case .object(let members) = try JSONValue.parse(json, source: path, nonFinite: .read) else {
            throw PruneError(.format, "\(path): the file must hold a JSON object")
        }
        return ConfigObject(path: path, prefix: "", members: members)
    }

    /// An error about `key`: "config.json: rope_parameters.factor is ...".
    func fault(_ kind: FailureKind, _ key: String, _ what: String) -> PruneError {
        PruneError(kind, "\(path): \(prefix)\(key) \(what)")
    }

    var isEmpty: Bool { members.isEmpty }

    /// All keys, in alphabetical order.
    var keys: [String] { members.keys.sorted() }

    /// The same object with some members replaced; null takes one out.
    func changed(by changes: [String: JSONValue]) -> ConfigObject {
        ConfigObject(
            path: path, prefix: prefix,
            members: members.merging(changes) { $1 }.filter { $0.value != .null || changes[$0.key] == nil })
    }

    /// The first key, in alphabetical order, whose value is itself an object.
    var firstNestedKey: String? {
        members.keys.sorted().first { key in
            if case .object = members[key] { true } else { false }
        }
    }

    /// Whether the key is there, be it null.
    func mentions(_ key: String) -> Bool {
        read.keys.insert(key)
        return members[key] != nil
    }

    /// The value, or nil if it is missing or null.
    func value(_ key: String) -> JSONValue? {
        read.keys.insert(key)
        return members[key].flatMap { $0 == .null ? nil : $0 }
    }

    func optionalObject(_ key: String) throws(PruneError) -> ConfigObject? {
        guard let value = value(key) else { return nil }
        guard case .object(let members) = value else { throw wrongType(key, value, "an object") }
        return ConfigObject(path: path, prefix: "\(prefix)\(key).", members: members)
    }

    /// An array of objects. Errors: `.format` if it is missing or holds anything else.
    func objects(_ key: String) throws(PruneError) -> [ConfigObject] {
        var objects: [ConfigObject] = []
        for (index, element) in try array(key).enumerated() {
            guard case .object(let members) = element else { throw wrongType(key, element, "an array of objects") }
            objects.append(ConfigObject(path: path, prefix: "\(prefix)\(key)[\(index)].", members: members))
        }
        return objects
    }

    /// An array of numbers. Errors: `.format` if it is missing or holds anything else.
    func numbers(_ key: String) throws(PruneError) -> [Double] {
        var numbers: [Double] = []
        for element in try array(key) {
            switch element {
            case .integer(let value): numbers.append(Double(value))
            case .number(let value) where value.isFinite: numbers.append(value)
            default: throw wrongType(key, element, "an array of finite numbers")
            }
        }
        return numbers
    }

    private func array(_ key: String) throws(PruneError) -> [JSONValue] {
        guard let value = value(key) else { throw missing(key) }
        guard case .array(let elements) = value else { throw wrongType(key, value, "an array") }
        return elements
    }

    func object(_ key: String) throws(PruneError) -> ConfigObject {
        guard let object = try optionalObject(key) else { throw missing(key) }
        return object
    }

    func string(_ key: String) throws(PruneError) -> String {
        guard let string = try optionalString(key) else { throw missing(key) }
        return string
    }

    func optionalString(_ key: String) throws(PruneError) -> String? {
        guard let value = value(key) else { return nil }
        guard case .string(let string) = value else { throw wrongType(key, value, "a string") }
        return string
    }

    func optionalStrings(_ key: String) throws(PruneError) -> [String]? {
        guard let value = value(key) else { return nil }
        guard case .array(let elements) = value else { throw wrongType(key, value, "an array of strings") }
        var strings: [String] = []
        for element in elements {
            guard case .string(let string) = element else { throw wrongType(key, element, "an array of strings") }
            strings.append(string)
        }
        return strings
    }

    func bool(_ key: String, default missing: Bool) throws(PruneError) -> Bool {
        guard let value = value(key) else { return missing }
        guard case .bool(let bool) = value else { throw wrongType(key, value, "true or false") }
        return bool
    }

    func optionalNumber(_ key: String) throws(PruneError) -> Double? {
        switch value(key) {
        case nil: return nil
        case .integer(let value): return Double(value)
        case .number(let value) where value.isFinite: return value
        case .some(let value): throw wrongType(key, value, "a finite number")
        }
    }

    /// A number above 0.
    func optionalPositive(_ key: String) throws(PruneError) -> Double? {
        guard let number = try optionalNumber(key) else { return nil }
        guard number > 0 else { throw fault(.format, key, "is \(number); it must be above 0") }
        return number
    }

    /// The number above 0 that the first of `objects` to have one gives.
    static func firstPositive(_ key: String, in objects: [ConfigObject?]) throws(PruneError) -> Double? {
        for object in objects {
            if let number = try object?.optionalPositive(key) { return number }
        }
        return nil
    }

    func positive(_ key: String) throws(PruneError) -> Double {
        guard let number = try optionalPositive(key) else { throw missing(key) }
        return number
    }

    /// An integer of at least `least`.
    ///
    /// Errors: `.format` if it is smaller or no integer; `.unsupported` if it is above `limit`.
    func optionalCount(_ key: String, from least: Int = 1, limit: Int) throws(PruneError) -> Int? {
        guard let value = value(key) else { return nil }
        guard case .integer(let count) = value else { throw wrongType(key, value, "an integer") }
        guard count >= least else { throw fault(.format, key, "is \(count); it must be at least \(least)") }
        guard count <= limit else {
            throw fault(.unsupported, key, "is \(count); this version computes models of at most \(limit)")
        }
        return count
    }

    func count(_ key: String, limit: Int) throws(PruneError) -> Int {
        guard let count = try optionalCount(key, limit: limit) else { throw missing(key) }
        return count
    }

    func missing(_ key: String) -> PruneError { fault(.format, key, "is missing") }

    private func wrongType(_ key: String, _ value: JSONValue, _ wanted: String) -> PruneError {
        fault(.format, key, "is \(value.described); it must be \(wanted)")
    }
}
