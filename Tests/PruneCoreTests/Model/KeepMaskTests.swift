// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

@Suite struct KeepMaskTests {
    @Test func removesTheLowestAndBreaksTiesByIndex() throws {
        let mask = try KeepMask(blocks: 3).removingLowest(2, by: [1, 0.5, 0.5, 0.5, 2, 3], .sublayer)
        #expect(mask.removed == [1, 2])
        #expect(try KeepMask(blocks: 3).removingLowest(1, by: [2, 1, 3], .block).removed == [2, 3])
        #expect(try KeepMask(blocks: 3).removingLowest(2, by: [2, 1, 3], .attention).removed == [0, 2])
        #expect(try KeepMask(blocks: 3).removingLowest(3, by: [2, 1, 3], .feedForward).removed == [1, 3, 5])
    }

    @Test func skipsUnitsThatAreAlreadyTouched() throws {
        let start = KeepMask(blocks: 3).removing(unit: 2, .sublayer)
        #expect(try start.removingLowest(1, by: [2, 1, 3], .block).removed == [0, 1, 2])
        #expect(throws: PruneError.self) { try start.removingLowest(3, by: [2, 1, 3], .block) }
    }

    @Test func refusesWhatItCannotRank() {
        #expect(throws: PruneError.self) { try KeepMask(blocks: 2).removingLowest(1, by: [1, .nan], .block) }
        #expect(throws: PruneError.self) { try KeepMask(blocks: 2).removingLowest(1, by: [1], .block) }
        #expect(throws: PruneError.self) { try KeepMask(bytes: [1, 0, 2, 1]) }
    }

    @Test func jsonRoundTrip() throws {
        let mask = KeepMask(blocks: 12).removing(unit: 6, .sublayer).removing(unit: 15, .sublayer)
        let text = try MaskDocument.write(mask, provenance: #"{"method": "one shot", "seed": 3}"#)
        #expect(text.contains(#""removed": ["attn.3", "ffn.7"]"#))
        #expect(try MaskDocument.read(text) == mask)
    }

    @Test(arguments: [
        "", "[]", "{}", #"{"format": "prunecore.mask", "version": 1, "n_blocks": 0, "removed": []}"#,
        #"{"format": "prunecore.mask", "version": 1, "n_blocks": 1e9, "removed": []}"#,
        #"{"format": "prunecore.mask", "version": 3, "n_blocks": 2, "removed": []}"#,
        #"{"format": "prunecore.mask", "version": 1, "n_blocks": 2, "removed": ["attn.2"]}"#,
        #"{"format": "prunecore.mask", "version": 1, "n_blocks": 2, "removed": [3]}"#,
        #"{"format": "other", "version": 1, "n_blocks": 2, "removed": []}"#,
    ])
    func refusesOtherJSON(_ text: String) {
        #expect(throws: PruneError.self) { try MaskDocument.read(text) }
    }

    @Test func provenanceMustBeAnObject() {
        #expect(throws: PruneError.self) { try MaskDocument.write(KeepMask(blocks: 1), provenance: "[1]") }
    }

    @Test func costAddsUpWhatIsKept() {
        let shape = HandModel(updates: Array(repeating: [0, 0], count: 4)).shape
        let cost = shape.cost(under: KeepMask(blocks: 2).removing(unit: 2, .sublayer))
        var wanted = ModelCost(parameters: 5 + 1 + 2 + 4, parameterBytes: 48, keyValueBytes: 8)
        wanted.sublayersRemoved = 1
        #expect(cost == wanted)
    }
}
