// SPDX-License-Identifier: Apache-2.0
/// The text of a JSON object, whose members can be replaced while the others stay as they are written: numbers keep their
/// digits, whatever a reader would make of them.
struct ConfigText {
    private struct Member {
        let key: String
        /// As it stands in the text, quotes and escapes included.
        let writtenKey: String
        var value: String
    }

    private var members: [Member]

    /// Errors: `.format`, naming `source`, if the text is not a JSON object.
    init(_ text: [UInt8], source: String) throws(PruneError) {
        // Checked as a whole first: what is cut apart below is known to be JSON.
        guard case .object = try JSONValue.parse(text, source: source, nonFinite: .read) else {
            throw PruneError(.format, "\(source): the file must hold a JSON object")
        }
        members = []
        for part in Self.parts(of: text) {
            guard
                let colon = Self.end(ofStringIn: part).flatMap({ end in
                    part[end...].firstIndex(of: UInt8(ascii: ":"))
                })
            else { throw PruneError(.format, "\(source): a member of the JSON object has no name") }
            let written = Self.trimmed(part[..<colon])
            guard case .string(let key) = try JSONValue.parse(Array(written.utf8), source: source) else {
                throw PruneError(.format, "\(source): a member of the JSON object has no name")
            }
            members.append(Member(key: key, writtenKey: written, value: Self.trimmed(part[(colon + 1)...])))
        }
    }

    /// The value of a member as it is written; nil if there is none.
    func value(_ key: String) -> String? { members.first { $0.key == key }?.value }

    /// Gives a member another value, or adds it at the end.
    mutating func set(_ key: String, _ value: JSONValue) { set(key, written: value.text) }

    /// The same with a value as it is to be written, which must be JSON.
    mutating func set(_ key: String, written value: String) {
        if let index = members.firstIndex(where: { $0.key == key }) {
            members[index].value = value
        } else {
            members.append(Member(key: key, writtenKey: JSONValue.string(key).text, value: value))
        }
    }

    mutating func remove(_ key: String) { members.removeAll { $0.key == key } }

    var isEmpty: Bool { members.isEmpty }

    /// The object with some of its members alone.
    func only(_ keys: [String]) -> ConfigText {
        var result = self
        result.members.removeAll { !keys.contains($0.key) }
        return result
    }

    /// Of a member that is an array of `count` elements, keeps those at some indices. Other values stay.
    mutating func cut(_ key: String, to kept: [Int], of count: Int) {
        guard let value = value(key), value.hasPrefix("[") else { return }
        let elements = Self.parts(of: Array(value.utf8)).map { Self.trimmed($0) }
        guard elements.count == count else { return }
        let written = kept.filter(elements.indices.contains).map { elements[$0] }
        set(key, written: "[" + written.joined(separator: ", ") + "]")
    }

    /// The whole object, a member a line.
    var text: String {
        "{\n" + members.map { "  \($0.writtenKey): \($0.value)" }.joined(separator: ",\n") + "\n}\n"
    }

    /// The whole object in one line, for a member of another.
    var inline: String { "{" + members.map { "\($0.writtenKey): \($0.value)" }.joined(separator: ", ") + "}" }

    // MARK: Cutting

    /// What stands between the commas of the outermost object or array of a text that is JSON.
    private static func parts(of text: [UInt8]) -> [ArraySlice<UInt8>] {
        var parts: [ArraySlice<UInt8>] = []
        var depth = 0
        var begin = text.startIndex
        var strings = JSONStringTracker()
        for (index, byte) in text.enumerated() where !strings.takes(byte) {
            switch byte {
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                depth += 1
                if depth == 1 { begin = index + 1 }
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                if depth == 1, !trimmed(text[begin..<index]).isEmpty { parts.append(text[begin..<index]) }
                depth -= 1
            case UInt8(ascii: ",") where depth == 1:
                parts.append(text[begin..<index])
                begin = index + 1
            default: break
            }
        }
        return parts
    }

    /// Where the first string of a text has ended: the index behind its closing quote.
    private static func end(ofStringIn text: ArraySlice<UInt8>) -> Int? {
        var strings = JSONStringTracker()
        for index in text.indices where strings.takes(text[index]) && strings.didEndString {
            return index + 1
        }
        return nil
    }

    /// A part of a text that is UTF-8, without the white space around it.
    private static func trimmed(_ text: ArraySlice<UInt8>) -> String {
        func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 }
        guard let first = text.firstIndex(where: { !isSpace($0) }), let last = text.lastIndex(where: { !isSpace($0) })
        else { return "" }
        return String(decoding: text[first...last], as: UTF8.self)
    }
}
