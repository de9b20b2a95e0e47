// SPDX-License-Identifier: Apache-2.0
/// JSON texts (RFC 8259), read whole or refused, in time that grows with their length.
///
/// What the RFC leaves open, or other readers take besides:
/// - A key that appears twice in one object is refused: Python keeps the last value and others the first, so that two
///   readers would see two models. Keys are equal if Unicode holds them equal, however they are composed.
/// - Half a surrogate pair (`"\ud800"`) is refused: it is no text.
/// - A UTF-8 byte-order mark before the text is skipped. UTF-16 and UTF-32 are refused.
/// - `NaN`, `Infinity` and `-Infinity`, which Python's `json` writes, are refused unless the caller reads them.
/// - A number beyond the range of a double is refused; one that is too small for it is 0.
enum JSONText {
    /// Objects and arrays inside each other at most; bounds the stack. Model files nest three or four deep.
    static let depthLimit = 64

    /// What `NaN`, `Infinity` and `-Infinity` are.
    enum NonFiniteNumbers {
        case refused
        /// Numbers, for files of which only some members matter: whoever uses a number checks that it is finite.
        case read
    }

    /// Reads a whole text.
    ///
    /// - Parameter source: what error texts call it: the file.
    /// Errors: `.format`, naming `source` and line, column and byte of what is wrong; `.memory`.
    static func parse(
        _ text: [UInt8], source: String, nonFinite: NonFiniteNumbers = .refused
    ) throws(PruneError) -> JSONValue {
        guard !isWide(text) else {
            throw PruneError(.format, "\(source): the text is UTF-16 or UTF-32; save it as UTF-8")
        }
        try Memory.require(memoryBound(text), for: "the JSON of \(source)", "free some memory")
        var reader = JSONReader(text, nonFinite: nonFinite)
        do throws(JSONFault) { return try reader.wholeText() } catch {
            throw PruneError(.format, "\(source): bad JSON at \(place(error.position, in: text)): \(error.problem)")
        }
    }

    /// Whether the first characters are told by byte-order mark or NUL bytes to have more than one byte each.
    private static func isWide(_ text: [UInt8]) -> Bool {
        let begin = text.prefix(2)
        return begin.elementsEqual([0xFF, 0xFE]) || begin.elementsEqual([0xFE, 0xFF]) || begin.contains(0)
    }

    /// Bytes that the values of a text take at most. An element takes a place in an array, a member one in a hash table,
    /// both of which grow by copying; each key and string may lie in memory of its own.
    private static func memoryBound(_ text: [UInt8]) -> Int {
        let perValue = 128
        let values = text.count { byte in
            switch byte {
            case UInt8(ascii: ","), UInt8(ascii: ":"), UInt8(ascii: "{"), UInt8(ascii: "["): true
            default: false
            }
        }
        return perValue * (values + 1) + 2 * text.count
    }

    /// "line 3, column 14 (byte 210)": lines and columns from 1 as editors count them, bytes from 0.
    private static func place(_ position: Int, in text: [UInt8]) -> String {
        let before = text[..<position]
        let lineBegin = before.lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? 0
        let line = 1 + before.count { $0 == UInt8(ascii: "\n") }
        // Bytes that continue a character do not begin a column.
        let column = 1 + text[lineBegin..<position].count { $0 & 0xC0 != 0x80 }
        return "line \(line), column \(column) (byte \(position))"
    }
}
