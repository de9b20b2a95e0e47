// SPDX-License-Identifier: Apache-2.0
/// What is wrong with a JSON text, and at which byte.
struct JSONFault: Error {
    let position: Int
    let problem: String
}

/// Reads the values of one JSON text from its first byte to its last; no byte is looked at more than a few times.
struct JSONReader {
    private let text: [UInt8]
    private let nonFinite: JSONText.NonFiniteNumbers
    private var position = 0
    /// Objects and arrays around the place.
    private var depth = 0

    init(_ text: [UInt8], nonFinite: JSONText.NonFiniteNumbers) {
        self.text = text
        self.nonFinite = nonFinite
        if text.starts(with: [0xEF, 0xBB, 0xBF]) { position = 3 }
    }

    /// The one value of the text, with white space around it.
    mutating func wholeText() throws(JSONFault) -> JSONValue {
        let value = try value()
        skipSpace()
        guard position == text.count else { throw fault("a value was complete, but text follows it") }
        return value
    }

    private var byte: UInt8? { position < text.count ? text[position] : nil }

    private func fault(_ problem: String) -> JSONFault { JSONFault(position: position, problem: problem) }

    private mutating func skipSpace() {
        while let byte, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { position += 1 }
    }

    /// Goes past `byte` if it is next.
    private mutating func takes(_ wanted: Unicode.Scalar) -> Bool {
        guard byte == UInt8(ascii: wanted) else { return false }
        position += 1
        return true
    }

    private mutating func value() throws(JSONFault) -> JSONValue {
        skipSpace()
        guard let byte else { throw fault("the text ends where a value should be") }
        switch byte {
        case UInt8(ascii: "{"): return .object(try nested { (reader) throws(JSONFault) in try reader.object() })
        case UInt8(ascii: "["): return .array(try nested { (reader) throws(JSONFault) in try reader.array() })
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
        default: return try word()
        }
    }

    private mutating func nested<Content>(
        _ body: (inout JSONReader) throws(JSONFault) -> Content
    ) throws(JSONFault) -> Content {
        guard depth < JSONText.depthLimit else { throw fault("nested more than \(JSONText.depthLimit) deep") }
        depth += 1
        defer { depth -= 1 }
        position += 1
        return try body(&self)
    }

    /// What follows "[".
    private mutating func array() throws(JSONFault) -> [JSONValue] {
        var elements: [JSONValue] = []
        skipSpace()
        if takes("]") { return elements }
        while true {
            elements.append(try value())
            guard try continues(to: "]") else { return elements }
        }
    }

    /// Bytes of the longest key that is not ASCII.
    private static let longestKey = 1024

    /// What follows "{".
    private mutating func object() throws(JSONFault) -> [String: JSONValue] {
        var members: [String: JSONValue] = [:]
        skipSpace()
        if takes("}") { return members }
        while true {
            skipSpace()
            guard byte == UInt8(ascii: "\"") else { throw fault("a key in double quotes should be here") }
            let place = position
            let key = try string()
            // Keys are compared as Unicode has it, which takes time that grows with the square of their combining marks.
            guard key.utf8.count <= Self.longestKey || key.utf8.allSatisfy({ $0 < 0x80 }) else {
                throw JSONFault(
                    position: place,
                    problem:
                        "a key of \(key.utf8.count) bytes; at most \(Self.longestKey) are read where it is not ASCII")
            }
            skipSpace()
            guard takes(":") else { throw fault("a colon should be here") }
            let value = try value()
            guard members.updateValue(value, forKey: key) == nil else {
                throw JSONFault(position: place, problem: "the key \(key.quoted) appears twice in one object")
            }
            guard try continues(to: "}") else { return members }
        }
    }

    /// Goes past a comma (true) or the closing bracket (false).
    private mutating func continues(to end: Unicode.Scalar) throws(JSONFault) -> Bool {
        skipSpace()
        if takes(end) { return false }
        guard takes(",") else { throw fault("a comma or \(end) should be here") }
        skipSpace()
        if byte == UInt8(ascii: end) { throw fault("a comma before a closing bracket") }
        return true
    }

    /// true, false, null, and what Python writes for numbers that are not finite.
    private mutating func word() throws(JSONFault) -> JSONValue {
        if takes(word: "true") { return .bool(true) }
        if takes(word: "false") { return .bool(false) }
        if takes(word: "null") { return .null }
        for (name, value) in [("NaN", Double.nan), ("Infinity", .infinity)] where begins(with: name) {
            return try notFinite(name, value)
        }
        throw fault("this begins no value")
    }

    private mutating func notFinite(_ name: String, _ value: Double) throws(JSONFault) -> JSONValue {
        guard nonFinite == .read else { throw fault("\(name) is not JSON, and no number to compute with") }
        position += name.utf8.count
        return .number(value)
    }

    private func begins(with word: String) -> Bool { text[position...].starts(with: word.utf8) }

    private mutating func takes(word: String) -> Bool {
        guard begins(with: word) else { return false }
        position += word.utf8.count
        return true
    }
}

// MARK: Numbers

extension JSONReader {
    private mutating func number() throws(JSONFault) -> JSONValue {
        let begin = position
        if takes("-"), begins(with: "Infinity") { return try notFinite("Infinity", -.infinity) }
        if !takes("0") { try digits() }
        var isWhole = true
        if takes(".") {
            isWhole = false
            try digits()
        }
        if takes("e") || takes("E") {
            isWhole = false
            if !takes("+") { _ = takes("-") }
            try digits()
        }
        let written = String(decoding: text[begin..<position], as: UTF8.self)
        if isWhole, let integer = Int(written) { return .integer(integer) }
        guard let value = Double(written), value.isFinite else {
            throw JSONFault(position: begin, problem: "a number out of range")
        }
        // The sign of -0.0 is part of the number, and an integer has no room for it.
        if let integer = Int(exactly: value), integer != 0 || value.sign == .plus { return .integer(integer) }
        return .number(value)
    }

    /// At least one.
    private mutating func digits() throws(JSONFault) {
        let begin = position
        while let byte, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { position += 1 }
        guard position > begin else { throw fault("a digit should be here") }
    }
}

// MARK: Strings

extension JSONReader {
    /// A string from its opening quote to its closing one.
    private mutating func string() throws(JSONFault) -> String {
        position += 1
        let begin = position
        var hasEscapes = false
        while let byte, byte != UInt8(ascii: "\"") {
            guard byte >= 0x20 else { throw fault("a control character in a string; write it as \\u00..") }
            if byte == UInt8(ascii: "\\") {
                hasEscapes = true
                position += 1
            }
            position += 1
        }
        guard position < text.count else {
            throw JSONFault(position: begin - 1, problem: "the string that begins here does not end")
        }
        let end = position
        if hasEscapes {
            let content = try unescaped(begin..<end)
            position = end + 1
            return content
        }
        guard let content = String(validating: text[begin..<end], as: UTF8.self) else {
            throw JSONFault(position: begin, problem: "the string that begins here is not valid UTF-8")
        }
        position += 1
        return content
    }

    /// A string's content; `range` has the bytes between its quotes, and every backslash has a byte after it.
    private mutating func unescaped(_ range: Range<Int>) throws(JSONFault) -> String {
        var content: [UInt8] = []
        content.reserveCapacity(range.count)
        position = range.lowerBound
        while position < range.upperBound {
            let byte = text[position]
            guard byte == UInt8(ascii: "\\") else {
                content.append(byte)
                position += 1
                continue
            }
            content += try escape().utf8
        }
        guard let string = String(validating: content, as: UTF8.self) else {
            throw JSONFault(position: range.lowerBound, problem: "the string that begins here is not valid UTF-8")
        }
        return string
    }

    /// The character that an escape stands for.
    private mutating func escape() throws(JSONFault) -> String {
        let begin = position
        let letter = text[position + 1]
        position += 2
        switch letter {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return String(Unicode.Scalar(letter))
        case UInt8(ascii: "b"): return "\u{8}"
        case UInt8(ascii: "f"): return "\u{C}"
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "u"): break
        default: throw JSONFault(position: begin, problem: "a backslash before a character that has no escape")
        }
        let first = try unit()
        if let scalar = Unicode.Scalar(first) { return String(scalar) }
        if first < 0xDC00, takes("\\"), takes("u") {
            let second = try unit()
            if (0xDC00...0xDFFF).contains(second),
                let scalar = Unicode.Scalar(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00))
            {
                return String(scalar)
            }
        }
        throw JSONFault(position: begin, problem: "half a surrogate pair, which is no character")
    }

    /// The number that four hexadecimal digits give.
    private mutating func unit() throws(JSONFault) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<4 {
            guard let byte, let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
                throw fault("four hexadecimal digits should follow \\u")
            }
            value = value << 4 | UInt32(digit)
            position += 1
        }
        return value
    }
}
