// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

@Suite struct CheckpointJSONTests {
    func value(_ text: String) throws -> JSONValue { try JSONValue.parse(Array(text.utf8), source: "x.json") }

    @Test func readsEveryKindOfValue() throws {
        let text = """
             {"a": [1, -2, 0, 1.5, 1e2, -0.25E-1],\t"b": {"c": null, "d": true, "e": false}, "": "",\r
            "f": [], "g": {} }
            """
        #expect(
            try value(text)
                == .object([
                    "a": .array([.integer(1), .integer(-2), .integer(0), .number(1.5), .integer(100), .number(-0.025)]),
                    "b": .object(["c": .null, "d": .bool(true), "e": .bool(false)]),
                    "": .string(""), "f": .array([]), "g": .object([:]),
                ]))
    }

    @Test func readsEscapesAndUnicode() throws {
        #expect(try value(#""\"\\\/\b\f\n\r\t""#) == .string("\"\\/\u{8}\u{C}\n\r\t"))
        #expect(try value(#""\u00e9 \uD83D\uDE00 é 😀""#) == .string("é 😀 é 😀"))
        #expect(try value(#""\u0000""#) == .string("\u{0}"))
    }

    @Test func readsNumbersAtTheEdge() throws {
        #expect(try value("9223372036854775807") == .integer(.max))
        #expect(try value("-9223372036854775808") == .integer(.min))
        #expect(try value("9223372036854775808") == .number(9_223_372_036_854_775_808))
        #expect(try value("1e308") == .number(1e308))
        #expect(try value("2.0") == .integer(2))
        #expect(try value("1e-999") == .integer(0))
        #expect(try value("1000000000000000019884624838656") == .number(1e30))
    }

    @Test(arguments: [
        "", " ", "{", "}", "[", "]", "[1,]", "[,1]", "[1 2]", #"{"a"}"#, #"{"a":}"#, #"{"a":1,}"#, "{a:1}", "{'a':1}",
        #"{"a":1 "b":2}"#, "01", "-", "+1", ".5", "1.", "1e", "1e+", "--1", "0x10", "NaN", "Infinity", "-Infinity",
        "nan", "tru", "truee", "nul", "True", "\"", #""\"#, #""\x""#, #""\u12""#, #""\u12G4""#, #""\uD800""#,
        #""\uDC00""#, #""\uD800\u0041""#, "\"a\nb\"", "1 2", "{} {}", "// x\n1", "[1]]", "1\u{FEFF}", " \u{FEFF}1",
        "1e999", "-1e999",
    ])
    func refusesWhatIsNoJSON(_ text: String) {
        expectFault(.format, naming: "x.json", "bad JSON") { _ = try value(text) }
        expectFault(.format, naming: "x.json", "bad JSON") { _ = try value("{\"a\": [1, \(text)]}") }
    }

    @Test func refusesInvalidUTF8() {
        for bytes: [UInt8] in [[0xFF], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xE2, 0x82], [0xF5, 0x80, 0x80, 0x80]] {
            expectFault(.format, naming: "UTF-8") {
                _ = try JSONValue.parse([0x22] + bytes + [0x22], source: "x.json")
            }
        }
    }

    @Test func refusesOtherEncodings() {
        let text = Array("{\"a\": 1}".utf8)
        let utf16: [UInt8] = text.flatMap { [$0, 0] }
        let utf32: [UInt8] = text.flatMap { [0, 0, 0, $0] }
        let texts: [[UInt8]] = [
            utf16, [0] + utf16.dropLast(), [0xFF, 0xFE] + utf16, utf32, [0x31, 0],
        ]
        for bytes in texts {
            expectFault(.format, naming: "x.json") { _ = try JSONValue.parse(bytes, source: "x.json") }
        }
    }

    @Test func skipsAByteOrderMarkAtTheBeginning() throws {
        #expect(try value("\u{FEFF}{\"a\": 1}") == .object(["a": .integer(1)]))
        #expect(try value("[\"\u{FEFF}\"]") == .array([.string("\u{FEFF}")]))
        expectFault(.format, naming: "bad JSON") { _ = try value("\u{FEFF}\u{FEFF}1") }
        expectFault(.format, naming: "UTF-16", "save it as UTF-8") {
            _ = try JSONValue.parse([0xFF, 0xFE, 0x31, 0], source: "x.json")
        }
    }

    @Test func readsWhatPythonWritesForNonFiniteNumbersWhereAskedTo() throws {
        let text = Array(#"{"a": [Infinity, -Infinity], "b": NaN}"#.utf8)
        guard case .object(let members) = try JSONValue.parse(text, source: "x.json", nonFinite: .read),
            case .number(let b) = members["b"]
        else {
            Issue.record("no object with a number")
            return
        }
        #expect(members["a"] == .array([.number(.infinity), .number(-.infinity)]) && b.isNaN)
        expectFault(.format, naming: "line 1, column 8 (byte 7)", "Infinity") {
            _ = try JSONValue.parse(text, source: "x.json")
        }
        for bad in ["nan", "-NaN", "+Infinity", "Infinit", "inf"] {
            expectFault(.format, naming: "bad JSON") {
                _ = try JSONValue.parse(Array(bad.utf8), source: "x.json", nonFinite: .read)
            }
        }
        // A key that matters is refused by its name.
        let file = try ConfigObject.parse(text, path: "config.json")
        expectFault(.format, naming: "config.json: b is NaN") { _ = try file.optionalNumber("b") }
        expectFault(.format, naming: "config.json: a is Infinity") { _ = try file.numbers("a") }
    }

    @Test func saysWhereBadJSONIs() {
        expectFault(.format, naming: "x.json: bad JSON at line 3, column 8 (byte 20)", "value") {
            _ = try value("{\n  \"a\": 1,\n  \"\u{E9}\": x\n}")
        }
        expectFault(.format, naming: "line 2, column 1", "\"a\" appears twice") {
            _ = try value("{\"a\": 1,\n\"a\": 2}")
        }
    }

    @Test func keepsTheSignOfZero() throws {
        guard case .number(let zero) = try value("-0.0") else {
            Issue.record("-0.0 is no integer")
            return
        }
        #expect(zero == 0 && zero.sign == .minus)
        #expect(try value("-0") == .integer(0))
        #expect(try value("0.0") == .integer(0))
    }

    /// Sixteen times the text takes some sixteen times the time: a ratio, so that it does not matter how fast the machine is.
    @Test(arguments: [
        ("[", "[1],", "1]"), ("{", "\"#\":{\"a\":[0]},", "\"\":0}"), ("[", "{\"a\":1,\"b\":\"x\"},", "0]"),
        ("\"", "x", "\""),
        ("\"", "\\n", "\""), ("\"", "\\ud83d\\ude00", "\""), ("\"", "e\u{301}\u{323}", "\""), ("0.", "1", ""),
        ("", " ", "1"),
        ("", "\n", "x"), ("[", "1e-5,", "1]"), ("{\"", "\u{301}\u{323}", "\":1}"),
        ("[", "-0.12345678901234567890,", "0]"),
    ])
    func takesTimeThatGrowsWithTheText(_ begin: String, _ part: String, _ end: String) {
        func text(_ bytes: Int) -> [UInt8] {
            let parts = (0..<bytes / part.utf8.count).map { part.replacing("#", with: String($0)) }
            return Array((begin + parts.joined() + end).utf8)
        }
        func seconds(_ text: [UInt8]) -> Double {
            (0..<3).map { _ in
                let begin = ContinuousClock.now
                _ = try? JSONValue.parse(text, source: "x.json")
                return (ContinuousClock.now - begin) / .seconds(1)
            }.min() ?? 0
        }
        let (short, long) = (text(50_000), text(800_000))
        let ratio = seconds(long) / max(seconds(short), 1e-4)
        // A square would be 256. A busy machine reaches some 20.
        #expect(ratio < 80, "sixteen times the text took \(ratio) times as long")
    }

    @Test func refusesLongKeysThatAreNotASCII() throws {
        let long = String(repeating: "e\u{301}", count: 400)
        expectFault(.format, naming: "x.json", "a key of 1200 bytes") { _ = try value("{\"\(long)\": 1}") }
        let plain = String(repeating: "e", count: 100_000)
        #expect(try value("{\"\(plain)\": 1}") == .object([plain: .integer(1)]))
    }

    @Test func refusesKeysThatAppearTwice() throws {
        for text in [
            #"{"a": 1, "b": 2, "a": 3}"#, #"{"a": 1, "\u0061": 3}"#, #"[[{"a": 1, "a": 1}]]"#,
            #"{"a": [], "a": [1, 2]}"#, #"{"a": [1, 2], "a": []}"#, #"{"a": {"b": 1, "b": 2}, "c": 3}"#,
        ] {
            expectFault(.format, naming: "x.json", "twice") { _ = try value(text) }
        }
        // Commas in strings do not count.
        let read = try value(#"{"a,": ",", "b\",": [",,"]}"#)
        #expect(read == .object(["a,": .string(","), "b\",": .array([.string(",,")])]))
    }

    @Test func limitsNesting() throws {
        let deep = JSONText.depthLimit
        _ = try value(String(repeating: "[", count: deep) + String(repeating: "]", count: deep))
        for (open, count) in [("[", deep + 1), ("[", 200_000), ("{\"a\":", 200_000), ("[{\"a\":", 100_000)] {
            expectFault(.format, naming: "nested") { _ = try value(String(repeating: open, count: count)) }
        }
        // Brackets in strings do not count.
        let brackets = String(repeating: "[{", count: 100)
        #expect(try value("[\"\\\"\(brackets)\"]") == .array([.string("\"" + brackets)]))
    }

    @Test func readsBackMasksOfTheDeepestProvenance() throws {
        func provenance(depth: Int) -> String {
            String(repeating: "{\"a\":", count: depth) + "0" + String(repeating: "}", count: depth)
        }
        let mask = KeepMask(blocks: 2).removing(unit: 1, .sublayer)
        let text = try MaskDocument.write(mask, provenance: provenance(depth: JSONText.depthLimit - 1))
        #expect(try MaskDocument.read(text) == mask)
        expectFault(.format, naming: "provenance", "nested") {
            _ = try MaskDocument.write(mask, provenance: provenance(depth: JSONText.depthLimit))
        }
        for other in ["{}, {}", "{}]", "[{}", "{},", "", "{}] , [{}", "null"] {
            expectFault(.format, naming: "provenance") { _ = try MaskDocument.write(mask, provenance: other) }
        }
    }

    @Test func takesLongNumbersAndStrings() throws {
        #expect(try value("0." + String(repeating: "1", count: 200_000)) == .number(0.111_111_111_111_111_11))
        expectFault(.format, naming: "range") { _ = try value(String(repeating: "9", count: 200_000)) }
        let long = String(repeating: "x", count: 1_000_000)
        #expect(try value("\"\(long)\"") == .string(long))
    }

    @Test func quotesWhatAFileMadeLongOrUnprintable() {
        #expect("a\u{0}b\nc\u{9B}d".quoted == "\"a\u{FFFD}b\u{FFFD}c\u{FFFD}d\"")
        #expect(String(repeating: "x", count: 121).quoted == "\"" + String(repeating: "x", count: 120) + "...\"")
        #expect(String(repeating: "x", count: 120).quoted == "\"" + String(repeating: "x", count: 120) + "\"")
    }
}
