// SPDX-License-Identifier: Apache-2.0
/// The JSON of a safetensors header as written: an object with one member per tensor, of which nothing is checked yet
/// but the types of its members, and that `__metadata__` holds strings alone.
struct SafetensorsContent {
    /// What is said of a tensor; nil = missing. Members that the format does not name are left room for.
    struct Entry {
        let name: String
        let dtype: String?
        let shape: [JSONValue]?
        let offsets: [JSONValue]?
    }

    /// Sorted by name, so that of several faults the same one is reported every time.
    let entries: [Entry]

    /// - Parameter source: what error texts call the text.
    /// Errors: `.format`, naming the member at fault.
    static func parse(_ text: [UInt8], source: String) throws(PruneError) -> SafetensorsContent {
        let tensors = try object(try JSONValue.parse(text, source: source), "the JSON", source)
        var entries: [Entry] = []
        entries.reserveCapacity(tensors.count)
        for (name, value) in tensors.sorted(by: { $0.key < $1.key }) {
            let members = try object(value, name.quoted, source)
            guard name != "__metadata__" else {
                _ = try members.strings { (key, _) in wrong("\(name).\(key)".quoted, "a string", source) }
                continue
            }
            var dtype: String?
            if let value = members["dtype"] {
                guard case .string(let text) = value else { throw wrong("\(name).dtype".quoted, "a string", source) }
                dtype = text
            }
            entries.append(
                Entry(
                    name: name, dtype: dtype, shape: try array("shape", of: members, name, source),
                    offsets: try array("data_offsets", of: members, name, source)))
        }
        return SafetensorsContent(entries: entries)
    }

    private static func object(
        _ value: JSONValue, _ what: String, _ source: String
    ) throws(PruneError) -> [String: JSONValue] {
        guard case .object(let members) = value else { throw wrong(what, "an object", source) }
        return members
    }

    private static func array(
        _ key: String, of members: [String: JSONValue], _ name: String, _ source: String
    ) throws(PruneError) -> [JSONValue]? {
        guard let value = members[key] else { return nil }
        guard case .array(let elements) = value else { throw wrong("\(name).\(key)".quoted, "an array", source) }
        return elements
    }

    private static func wrong(_ what: String, _ wanted: String, _ source: String) -> PruneError {
        PruneError(.format, "\(source): \(what) must be \(wanted)")
    }
}
