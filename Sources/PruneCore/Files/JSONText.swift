// SPDX-License-Identifier: Apache-2.0
#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

/// What a JSON text can be decoded into: all of it, so that the commas of the text can be accounted for.
protocol JSONContent: Decodable {
    /// Commas that a text of this content has: one less than there are members or elements, for each object and array
    /// that is not empty.
    var commaCount: Int { get }
}

/// JSON texts, read by Foundation's `JSONDecoder` and held to RFC 8259 where that is laxer.
///
/// The decoder takes a comma before a closing bracket, other encodings than UTF-8, and an object in which a key appears
/// twice: it keeps the first value, where Python keeps the last, so that the library would compute another model than
/// transformers. It does not say so, but such an object has more commas than what was decoded from it.
enum JSONText {
    /// Objects and arrays inside each other at most; bounds the stack. Model files nest three or four deep.
    static let depthLimit = 64

    /// Decodes a whole text.
    ///
    /// - Parameter source: what error texts call it: the file.
    /// Errors: `.format`, naming `source` and the place as far as it is known.
    static func decode<Content: JSONContent>(
        _ type: Content.Type, from text: [UInt8], source: String
    ) throws(PruneError) -> Content {
        guard String(validating: text, as: UTF8.self) != nil else {
            throw PruneError(.format, "\(source): the text is not valid UTF-8")
        }
        let commaCount = try countCommas(text, source: source)
        let content: Content
        do {
            content = try JSONDecoder().decode(type, from: Data(text))
        } catch {
            throw fault(error, source: source)
        }
        guard content.commaCount == commaCount else {
            throw PruneError(.format, "\(source): a key appears twice in one object of the JSON")
        }
        return content
    }

    /// Counts the commas outside strings.
    ///
    /// Errors: `.format` if the text nests too deep, has a comma before a closing bracket, or holds outside strings
    /// what makes the decoder take it for another encoding.
    private static func countCommas(_ text: [UInt8], source: String) throws(PruneError) -> Int {
        var commas = 0
        var depth = 0
        var strings = JSONStringTracker()
        /// The last byte that is not white space.
        var previous = UInt8(ascii: " ")
        for (position, byte) in text.enumerated() {
            if strings.takes(byte) {
                previous = byte
                continue
            }
            var problem: String?
            switch byte {
            case UInt8(ascii: " "), UInt8(ascii: "\n"), UInt8(ascii: "\r"), UInt8(ascii: "\t"): continue
            case UInt8(ascii: ","): commas += 1
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                depth += 1
                if depth > depthLimit { problem = "nested more than \(depthLimit) deep" }
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                depth -= 1
                if previous == UInt8(ascii: ",") { problem = "a comma before a closing bracket" }
            case 0, 0x80...: problem = "a character that JSON does not have"
            default: break
            }
            if let problem { throw PruneError(.format, "\(source): bad JSON at byte \(position): \(problem)") }
            previous = byte
        }
        return commas
    }

    /// The decoder does not say on every platform where bad JSON is, but where a value of the wrong type stands.
    private static func fault(_ error: any Error, source: String) -> PruneError {
        switch error {
        case DecodingError.typeMismatch(let type, let context), DecodingError.valueNotFound(let type, let context):
            PruneError(.format, "\(source): \(place(context) ?? "the JSON") must be \(described(type))")
        case DecodingError.dataCorrupted(let context):
            PruneError(
                .format, "\(source): bad JSON, or a number out of range\(place(context).map { ", in \($0)" } ?? "")")
        default:
            PruneError(.format, "\(source): bad JSON")
        }
    }

    /// Such as "a.shape[1]", in quotes; nil for the whole text.
    private static func place(_ context: DecodingError.Context) -> String? {
        var path = ""
        for key in context.codingPath {
            path += key.intValue.map { "[\($0)]" } ?? (path.isEmpty ? key.stringValue : "." + key.stringValue)
        }
        return context.codingPath.isEmpty ? nil : path.quoted
    }

    /// A type as the decoder names it in its errors.
    private static func described(_ type: Any.Type) -> String {
        switch type {
        case is String.Type: "a string"
        case is [Any].Type: "an array"
        case is [String: Any].Type: "an object"
        default: "of another type"
        }
    }
}

/// A key that may be anything.
struct JSONKey: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }

    init(_ name: String) { stringValue = name }
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
}
