// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

@Suite struct ConfigTextTests {
    private func text(_ json: String) throws -> ConfigText { try ConfigText(Array(json.utf8), source: "config.json") }

    /// Numbers that a reader would round, strings with everything in them that JSON's own signs are made of, and the order.
    @Test func whatIsNotChangedStaysAsItIsWritten() throws {
        var config = try text(
            #"{"b": 1e-05, "big" : 123456789012345678901234567890, "eps":9.999999974752427e-07 , "q\"}": "a,]\\\"{", "a": [1, [2, 3], {"x": "}"}], "n": null}"#
        )
        config.set("b", .integer(7))
        config.set("new", .string("x\"y"))
        config.remove("n")
        #expect(
            config.text == #"""
                {
                  "b": 7,
                  "big": 123456789012345678901234567890,
                  "eps": 9.999999974752427e-07,
                  "q\"}": "a,]\\\"{",
                  "a": [1, [2, 3], {"x": "}"}],
                  "new": "x\"y"
                }

                """#)
        #expect(config.value(#"q"}"#) == #""a,]\\\"{""#)
        #expect(config.value("n") == nil)
    }

    /// A key counts however it is escaped, and what was written is text that reads back.
    @Test func keysAreReadAndTheResultIsJSON() throws {
        var config = try text(#"{"num\u005fhidden_layers": 4, "é": 1.50}"#)
        config.set("num_hidden_layers", .integer(2))
        guard case .object(let members) = try JSONValue.parse(Array(config.text.utf8), source: "written") else {
            Issue.record("no object")
            return
        }
        #expect(members == ["num_hidden_layers": .integer(2), "é": .number(1.5)])
        #expect(config.text.contains("1.50"))
    }

    @Test func listsAreCut() throws {
        var config = try text(#"{"types": ["a,b", "c", 1.0, [2, 3]], "other": [1, 2], "word": "[x]", "none": []}"#)
        for key in ["types", "other", "word", "none", "missing"] { config.cut(key, to: [0, 3], of: 4) }
        #expect(config.value("types") == #"["a,b", [2, 3]]"#)
        // Of another length it is not a list of blocks.
        #expect(config.value("other") == "[1, 2]")
        #expect(config.value("word") == #""[x]""#)
        #expect(config.value("none") == "[]")
    }

    @Test(arguments: ["", "[1]", "{\"a\": }", "{\"a\": 1,}", "{\"a\": 1, \"a\": 2}", "{a: 1}", "{\"a\" 1}"])
    func configurationsThatAreNotObjectsAreRefused(_ json: String) {
        #expect { try text(json) } throws: { ($0 as? PruneError)?.kind == .format }
    }

    @Test func anEmptyObjectTakesMembers() throws {
        var config = try text(" { } ")
        config.set("a", .bool(true))
        #expect(config.text == "{\n  \"a\": true\n}\n")
    }
}
