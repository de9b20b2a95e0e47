/// Reads JSON (RFC 8259) value by value, front to back, without building a tree.
///
/// A header of many megabytes thus costs no more memory than what its reader keeps. Stricter than the RFC asks: a key
/// may appear once in an object, numbers must be finite, and nesting is limited. Every read of the input goes through
/// `next`, which knows where it ends.
struct JSONReader {
    /// Objects and arrays inside each other at most; bounds the stack. Model files nest three or four deep.
    static let depthLimit = 64

    /// What error texts call the input: the file.
    let source: String
    private let bytes: [UInt8]
    private var position = 0
    private var depth = 0

    init(_ bytes: [UInt8], source: String) {
        self.bytes = bytes
        self.source = source
    }

    /// The next value, which must be an object: `member` is told each key and must read or skip its value.
    mutating func readObject(
        _ member: (_ key: String, _ reader: inout JSONReader) throws(PruneError) -> Void
    ) throws(PruneError) {
        try expect("{", "an object")
        try enter()
        defer { depth -= 1 }
        if accept("}") { return }
        var seen: Set<String> = []
        repeat {
            let key = try readString()
            guard seen.insert(key).inserted else { throw fault("the key \(key.quoted) appears twice") }
            try expect(":", "\":\"")
            try member(key, &self)
        } while accept(",")
        try expect("}", "\",\" or \"}\"")
    }

    /// The next value, which must be an array: `element` must read or skip the value it is called for.
    mutating func readArray(
        _ element: (_ reader: inout JSONReader) throws(PruneError) -> Void
    ) throws(PruneError) {
        try expect("[", "an array")
        try enter()
        defer { depth -= 1 }
        if accept("]") { return }
        repeat { try element(&self) } while accept(",")
        try expect("]", "\",\" or \"]\"")
    }

    /// The next value, which must be a string.
    mutating func readString() throws(PruneError) -> String {
        try expect("\"", "a string")
        var text: [UInt8] = []
        while let byte = next {
            switch byte {
            case UInt8(ascii: "\""):
                position += 1
                guard let string = String(validating: text, as: UTF8.self) else {
                    throw fault("the string before it is not valid UTF-8")
                }
                return string
            case UInt8(ascii: "\\"):
                position += 1
                text.append(contentsOf: try readEscape().utf8)
            case 0..<0x20:
                throw fault("control character in a string")
            default:
                position += 1
                text.append(byte)
            }
        }
        throw fault("the text ends inside a string")
    }

    /// The next value, which must be an integer of at least 0 that fits an Int.
    mutating func readCount() throws(PruneError) -> Int {
        guard case .integer(let count) = try readNumber(), count >= 0 else {
            throw fault("expected an integer of at least 0 before it")
        }
        return count
    }

    /// The next value, which must be a number: `.integer` if it is written as one and fits, else `.number`.
    mutating func readNumber() throws(PruneError) -> JSONValue {
        skipSpace()
        let start = position
        var isInteger = true
        skip("-")
        if !skip("0") { try skipDigits() }
        if skip(".") {
            isInteger = false
            try skipDigits()
        }
        if skip("e") || skip("E") {
            isInteger = false
            if !skip("+") { skip("-") }
            try skipDigits()
        }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        if isInteger, let value = Int(text) { return .integer(value) }
        guard let value = Double(text), value.isFinite else { throw fault("the number before it is out of range") }
        return .number(value)
    }

    /// The next value, whatever it is.
    mutating func readValue() throws(PruneError) -> JSONValue {
        skipSpace()
        switch next {
        case UInt8(ascii: "{"):
            var members: [String: JSONValue] = [:]
            try readObject { (key, reader) throws(PruneError) in members[key] = try reader.readValue() }
            return .object(members)
        case UInt8(ascii: "["):
            var elements: [JSONValue] = []
            try readArray { (reader) throws(PruneError) in elements.append(try reader.readValue()) }
            return .array(elements)
        case UInt8(ascii: "\""):
            return .string(try readString())
        case UInt8(ascii: "t"):
            try readWord("true")
            return .bool(true)
        case UInt8(ascii: "f"):
            try readWord("false")
            return .bool(false)
        case UInt8(ascii: "n"):
            try readWord("null")
            return .null
        default:
            return try readNumber()
        }
    }

    /// Reads past the next value, keeping nothing of it.
    mutating func skipValue() throws(PruneError) {
        skipSpace()
        switch next {
        case UInt8(ascii: "{"): try readObject { (_, reader) throws(PruneError) in try reader.skipValue() }
        case UInt8(ascii: "["): try readArray { (reader) throws(PruneError) in try reader.skipValue() }
        default: _ = try readValue()
        }
    }

    /// Checks that nothing but white space follows.
    mutating func finish() throws(PruneError) {
        skipSpace()
        guard next == nil else { throw fault("unexpected text after the end") }
    }

    /// An error at the place the reader has come to.
    func fault(_ what: String) -> PruneError {
        PruneError(.format, "\(source): bad JSON at byte \(position): \(what)")
    }
}

extension JSONReader {
    private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func enter() throws(PruneError) {
        depth += 1
        guard depth <= Self.depthLimit else { throw fault("nested more than \(Self.depthLimit) deep") }
    }

    private mutating func skipSpace() {
        while let byte = next, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { position += 1 }
    }

    /// Takes `character` if it comes next.
    @discardableResult
    private mutating func skip(_ character: Unicode.Scalar) -> Bool {
        guard next == UInt8(ascii: character) else { return false }
        position += 1
        return true
    }

    /// Takes `character` if it comes next after white space.
    private mutating func accept(_ character: Unicode.Scalar) -> Bool {
        skipSpace()
        return skip(character)
    }

    private mutating func expect(_ character: Unicode.Scalar, _ what: String) throws(PruneError) {
        guard accept(character) else { throw fault("expected \(what)") }
    }

    private mutating func readWord(_ word: String) throws(PruneError) {
        for scalar in word.unicodeScalars where !skip(scalar) { throw fault("expected \(word)") }
    }

    private mutating func skipDigits() throws(PruneError) {
        let start = position
        while let byte = next, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { position += 1 }
        guard position > start else { throw fault("expected a value") }
    }

    /// The character of an escape sequence whose backslash was taken.
    private mutating func readEscape() throws(PruneError) -> String {
        let byte = next
        position += 1
        switch byte {
        case UInt8(ascii: "\""): return "\""
        case UInt8(ascii: "\\"): return "\\"
        case UInt8(ascii: "/"): return "/"
        case UInt8(ascii: "b"): return "\u{8}"
        case UInt8(ascii: "f"): return "\u{C}"
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "u"):
            let first = try readCodeUnit()
            var units = [first]
            if UTF16.isLeadSurrogate(first), skip("\\"), skip("u") { units.append(try readCodeUnit()) }
            guard let text = String(validating: units, as: UTF16.self) else { throw fault("unpaired surrogate") }
            return text
        default:
            position -= 1
            throw fault("unknown escape sequence")
        }
    }

    private mutating func readCodeUnit() throws(PruneError) -> UInt16 {
        var unit: UInt16 = 0
        for _ in 0..<4 {
            guard let byte = next, let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
                throw fault("expected four hexadecimal digits")
            }
            position += 1
            unit = unit << 4 | UInt16(digit)
        }
        return unit
    }
}
