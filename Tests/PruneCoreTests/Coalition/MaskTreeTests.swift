// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

@Suite struct MaskTreeTests {
    let model = HandModel(updates: (0..<24).map { [Float($0), Float(1 << ($0 % 7)), Float(24 - $0)] })
    let full = KeepMask(blocks: 12)

    func data() throws -> TokenData { try TokenData(tokens: [0, 1, 2, 1], lengths: [4], weights: nil) }

    func masks(_ count: Int, seed: UInt64) -> [KeepMask] {
        var state = seed
        return (0..<count).map { _ in
            var mask = full
            for sublayer in 0..<24 {
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                if state >> 60 < 5 { mask = mask.removing(unit: sublayer, .sublayer) }
            }
            return mask
        }
    }

    func measure(_ masks: [KeepMask], memory: Int? = nil) throws -> Measurement {
        try Measurement(
            model, data(), under: masks, [.loss], WalkOptions(memoryBudget: memory), stage: "test", progress: nil)
    }

    @Test func leaveOneOutSharesWhatStandsBefore() throws {
        let masks = [full] + (0..<24).map { full.removing(unit: $0, .sublayer) }
        let report = try measure(masks).report
        #expect(report.sublayersComputed == 300)
        #expect(report.sublayersNaive == 576)
    }

    @Test func theExactGameOverBlocksAppliesEachPrefixOnce() throws {
        let masks = (0..<4096).map { bits in
            (0..<12).reduce(full) { bits >> $1 & 1 == 0 ? $0.removing(unit: $1, .block) : $0 }
        }
        let report = try measure(masks).report
        #expect(report.sublayersComputed == 2 * 4095)
        #expect(report.sublayersNaive == 2 * 24576)
    }

    @Test(arguments: [nil, 0, 48, 96, 48 * 5] as [Int?])
    func aWalkEqualsEachMaskAlone(_ memory: Int?) throws {
        let masks = masks(60, seed: 5) + [full, full] + masks(3, seed: 5)
        let together = try measure(masks, memory: memory)
        for (mask, means) in zip(masks, together.means) {
            #expect(means[0].mean == (try measure([mask]).means[0][0].mean))
        }
        let free = try measure(masks).report
        #expect(together.report.sublayersComputed >= free.sublayersComputed)
        #expect(together.report.sublayersNaive == free.sublayersNaive)
        if memory == 0 { #expect(together.report.sublayersComputed > free.sublayersComputed) }
    }

    @Test func countsAheadWhatTheWalkTakes() throws {
        let masks = masks(40, seed: 9)
        #expect(try measure(masks).report.sublayersComputed == MaskTree(masks).sublayers)
    }

    @Test func distancesAreToTheReference() throws {
        let without = full.removing(unit: 3, .sublayer)
        let measured = try Measurement(
            model, data(), under: [without, full], [.distance(.l2)], WalkOptions(), stage: "test", progress: nil)
        // Sublayer 3 adds (3, 8, 21).
        #expect(abs(measured.means[0][0].mean - (9.0 + 64 + 441).squareRoot()) < 1e-5)
        #expect(measured.means[1][0].mean == 0)
        let other = try Measurement(
            model, data(), under: [full], [.distance(.l2)], reference: without, WalkOptions(), stage: "test",
            progress: nil)
        #expect(abs(other.means[0][0].mean - (9.0 + 64 + 441).squareRoot()) < 1e-5)
    }
}
