// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

@Suite struct EditDocumentTests {
    static let merge = BlockMerge(into: 1, from: [2, 3], weight: 0.25, rule: .running)
    static let text =
        #"[{"kind": "merge", "into": 1, "from": [2, 3], "weight": 0.25, "rule": "running"}, {"kind": "merge", "into": 0, "from": [1], "weight": 1}]"#

    @Test func editsReadAsTheyWereWritten() throws {
        let edits = try EditDocument.read(Self.text, source: "edits", blocks: 4)
        #expect(edits == [.merge(Self.merge), .merge(BlockMerge(into: 0, from: [1], weight: 1))])
        #expect(try EditDocument.read(EditDocument.write(edits), source: "edits", blocks: 4) == edits)
    }

    @Test func aMaskKeepsItsEditsAndIsRefusedByThoseWhoDoNotAskForThem() throws {
        let mask = KeepMask(blocks: 4).removing(units: [2, 3], .block)
        let text = try MaskDocument.write(mask, edits: [.merge(Self.merge)], provenance: #"{"a": 1}"#)
        #expect(text.contains(#""version": 2"#))
        let (read, edits) = try MaskDocument.readWithEdits(text)
        #expect(read == mask && edits == [.merge(Self.merge)])
        expectFault(.unsupported, naming: "edits") { _ = try MaskDocument.read(text) }
        let plain = try MaskDocument.write(mask, provenance: nil)
        #expect(plain.contains(#""version": 1"#) && !plain.contains("edits"))
        #expect(try MaskDocument.readWithEdits(plain).edits.isEmpty)
    }

    @Test(arguments: [
        ("{}", "an object"), ("[1]", "edit 0"), ("[{}]", "kind"), (#"[{"kind": 3}]"#, "kind"),
        (#"[{"kind": "merge", "from": [1], "weight": 1}]"#, "into"),
        (#"[{"kind": "merge", "into": -1, "from": [1], "weight": 1}]"#, "into"),
        (#"[{"kind": "merge", "into": 4, "from": [1], "weight": 1}]"#, "0 to 3"),
        (#"[{"kind": "merge", "into": 0.5, "from": [1], "weight": 1}]"#, "into"),
        (#"[{"kind": "merge", "into": 0, "from": [], "weight": 1}]"#, "from"),
        (#"[{"kind": "merge", "into": 0, "from": 1, "weight": 1}]"#, "from"),
        (#"[{"kind": "merge", "into": 0, "from": [1, 1], "weight": 1}]"#, "twice"),
        (#"[{"kind": "merge", "into": 0, "from": [0], "weight": 1}]"#, "merged into"),
        (#"[{"kind": "merge", "into": 0, "from": [1, 9223372036854775807], "weight": 1}]"#, "9223372036854775807"),
        (#"[{"kind": "merge", "into": 0, "from": [1]}]"#, "weight"),
        (#"[{"kind": "merge", "into": 0, "from": [1], "weight": "1"}]"#, "weight"),
        (#"[{"kind": "merge", "into": 0, "from": [1], "weight": 1, "rule": "mean"}]"#, "mean"),
        (#"[{"kind": "merge", "into": 0, "from": [1], "weight": 1, "wieght": 2}]"#, "wieght"),
        (#"[{"kind": "merge", "into": 0, "from": [1], "weight": 1e999}]"#, "JSON"), ("[", "JSON"),
    ])
    func whatIsNoEditIsRefusedByName(_ text: String, _ part: String) {
        expectFault(.format, naming: part) { _ = try EditDocument.read(text, source: "edits", blocks: 4) }
    }

    @Test func aKindOfALaterVersionIsUnsupported() {
        expectFault(.unsupported, naming: "sharpen") {
            _ = try EditDocument.read(#"[{"kind": "sharpen"}]"#, source: "edits", blocks: 4)
        }
    }

    @Test func numberedListsHaveNumbersAsTheyAreWritten() throws {
        func lists(_ text: String) throws(PruneError) -> [Int: [Int]] {
            let value = try JSONValue.parse(Array(text.utf8), source: "edits")
            return try EditObject(value, place: "edit 0").integers("of", byNumberBelow: 12, below: 5)
        }
        #expect(try lists(#"{"of": {"0": [4, 2], "11": [0]}}"#) == [0: [4, 2], 11: [0]])
        for bad in [
            #"{"of": {"07": [1]}}"#, #"{"of": {"12": [1]}}"#, #"{"of": {"+1": [1]}}"#, #"{"of": {"1": []}}"#,
            #"{"of": {"1": [5]}}"#, #"{"of": {}}"#, #"{"of": [1]}"#, "{}",
        ] {
            expectFault(.format, naming: "\"of\"") { _ = try lists(bad) }
        }
    }

    @Test func damagedTextsAreReadOrRefused() {
        var random = SeededGenerator(state: 3)
        let bytes = Array(Self.text.utf8)
        var read = 0
        for _ in 0..<4000 {
            var damaged = bytes
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                let place = Int.random(in: damaged.indices, using: &random)
                switch Int.random(in: 0...2, using: &random) {
                case 0: damaged.remove(at: place)
                case 1: damaged[place] = UInt8.random(in: 0x20...0x7E, using: &random)
                default: damaged.insert(bytes[Int.random(in: bytes.indices, using: &random)], at: place)
                }
            }
            let text = String(decoding: damaged, as: UTF8.self)
            guard let edits = try? EditDocument.read(text, source: "edits", blocks: 4) else { continue }
            read += 1
            for case .merge(let merge) in edits {
                #expect(merge.weight.isFinite && !merge.from.contains(merge.into) && !merge.from.isEmpty)
                #expect(([merge.into] + merge.from).allSatisfy { (0..<4).contains($0) })
            }
        }
        #expect(read > 20)
    }

    @Test func sharesAddUpToOne() {
        let three = [4, 5, 6]
        #expect(BlockMerge(into: 3, from: three, weight: 0.5).shares == [-0.5, 0.5, 0.5, 0.5])
        #expect(BlockMerge(into: 3, from: three, weight: 0.5, rule: .running).shares == [0.125, 0.125, 0.25, 0.5])
        #expect(BlockMerge(into: 3, from: three, weight: 1, rule: .running).shares == [0, 0, 0, 1])
        #expect(BlockMerge(into: 3, from: [4], weight: 1).shares == [0, 1])
    }
}
