// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

/// What a walk computes, in which calls, and what it holds meanwhile. Token 0 alone, so that states tell their mask.
@Suite struct MaskWalkTests {
    static let rows = 4
    /// HandModel's states are 3 floats wide.
    static let stateBytes = rows * 3 * 4

    func batches(_ lengths: [Int]) throws -> [TokenBatch] {
        let count = lengths.reduce(0, +)
        return try TokenData(tokens: Array(repeating: 0, count: count), lengths: lengths, weights: nil).batches(of: 1)
    }

    func leaveOneOut(blocks: Int) -> [KeepMask] {
        let full = KeepMask(blocks: blocks)
        return [full] + (0..<2 * blocks).map { full.removing(unit: $0, .sublayer) }
    }

    func everyBlockMask(blocks: Int) -> [KeepMask] {
        (0..<1 << blocks).map { bits in
            (0..<blocks).reduce(KeepMask(blocks: blocks)) { bits >> $1 & 1 == 0 ? $0.removing(unit: $1, .block) : $0 }
        }
    }

    func randomMasks(_ count: Int, blocks: Int, _ random: inout SeededNumbers) -> [KeepMask] {
        (0..<count).map { _ in
            (0..<2 * blocks).reduce(KeepMask(blocks: blocks)) { mask, sublayer in
                random.next(below: 10) < 3 ? mask.removing(unit: sublayer, .sublayer) : mask
            }
        }
    }

    /// Walks, and checks every end.
    @discardableResult
    func checkedWalk(
        _ model: WatchedModel, _ batches: [TokenBatch], _ masks: [KeepMask], reference: KeepMask? = nil,
        bytes: Int? = nil
    ) throws -> WalkReport {
        var seen = Array(repeating: [Int](), count: masks.count)
        var wrong = 0
        let report = try walk(
            model, batches, under: masks, reference: reference, WalkOptions(memoryBudget: bytes), stage: "test",
            progress: nil
        ) { ends throws(PruneError) in
            for end in ends {
                let batch = batches.firstIndex { $0 === end.batch } ?? -1
                for place in end.places {
                    seen[place].append(batch)
                    if (try? model.applied(end.state)) != masks[place] || end.state.batch !== end.batch { wrong += 1 }
                }
                if let reference {
                    let own = end.reference.map { $0.batch === end.batch ? try? model.applied($0) : nil }
                    if own != reference { wrong += 1 }
                }
            }
        }
        #expect(wrong == 0)
        #expect(seen.allSatisfy { $0 == Array(batches.indices) })
        #expect(model.rowsAlive == 0)
        #expect(report.sublayersComputed == model.calls.reduce(0) { $0 + $1.states })
        return report
    }

    /// Every mask has its own state, once per batch and in order; no more is held than allowed.
    @Test(arguments: 0..<12)
    func equalsEachMaskAloneWithinTheBudget(_ trial: Int) throws {
        var random = SeededNumbers(UInt64(trial))
        let blocks = 1 + random.next(below: 8)
        let masks = randomMasks(1 + random.next(below: 40), blocks: blocks, &random)
        let batches = try batches((0..<1 + random.next(below: 6)).map { _ in 1 + random.next(below: 6) })
        let references = [nil, KeepMask(blocks: blocks), masks[0]]
        for reference in references {
            for budgetRows in [0, 9, 20, 33, 70, 150, 400, 1500] {
                for rereads in [false, true] {
                    let model = WatchedModel.powers(blocks: blocks, rereadsWeights: rereads)
                    let report = try checkedWalk(model, batches, masks, reference: reference, bytes: budgetRows * 12)
                    let largest = batches.map(\.rowCount).max()!
                    #expect(model.mostRowsAlive <= max(budgetRows, largest * (reference == nil ? 2 : 3)))
                    #expect(report.sublayersComputed <= report.sublayersNaive)
                }
            }
        }
    }

    @Test func sublayersAreAppliedOncePerWave() throws {
        for lengths in [[4], [4, 3, 5, 1]] {
            let model = WatchedModel.powers(blocks: 12)
            try checkedWalk(model, batches(lengths), leaveOneOut(blocks: 12))
            #expect(model.calls.map(\.sublayer) == Array(0..<24))
            #expect(model.calls.map(\.states) == (1...24).map { $0 * lengths.count })
        }
    }

    @Test func aCallHasABoundedNumberOfRows() throws {
        let model = WatchedModel.powers(blocks: 5)
        let report = try checkedWalk(model, batches([600, 600, 600]), everyBlockMask(blocks: 5))
        #expect(report.sublayersComputed == 3 * 2 * 31)
        #expect(model.calls.allSatisfy { $0.states <= RowLimit.call / 600 })
    }

    /// Leave-one-out wants the state of the full mask, and one more to go on from it.
    @Test(arguments: 2..<30)
    func leaveOneOutNeedsThreeStates(_ states: Int) throws {
        for rereads in [false, true] {
            let model = WatchedModel.powers(blocks: 12, rereadsWeights: rereads)
            let report = try checkedWalk(
                model, batches([Self.rows]), leaveOneOut(blocks: 12), bytes: states * Self.stateBytes)
            #expect(report.sublayersComputed == (states < 3 ? 576 : 300))
        }
    }

    /// All masks of d blocks, with h states held: those before the first d - h blocks are made again, each as often as
    /// it occurs, from the tokens: for block l, 2^l states of l blocks, half of them kept on average.
    @Test(arguments: 0...5)
    func noMoreIsComputedAgainThanHasTo(_ held: Int) throws {
        let blocks = 6
        let model = WatchedModel.powers(blocks: blocks)
        let report = try checkedWalk(
            model, batches([Self.rows]), everyBlockMask(blocks: blocks), bytes: (held + 2) * Self.stateBytes)
        let again = (0..<blocks - held).reduce(0) { $0 + $1 << $1 }
        #expect(report.sublayersComputed == 2 * (1 << blocks - 1) + again)
        if held == 0 { #expect(report.sublayersComputed == report.sublayersNaive) }
    }

    /// With room for some states of the reference's branches it is walked with the others, else apart.
    @Test func aReferenceCostsItsOwnSublayersAtMost() throws {
        let masks = leaveOneOut(blocks: 12)
        for states in 3..<40 {
            let model = WatchedModel.powers(blocks: 12)
            let report = try checkedWalk(
                model, batches([Self.rows]), masks, reference: masks[0], bytes: states * Self.stateBytes)
            if states >= 36 { #expect(report.sublayersComputed == 300) }
            if states >= 4 { #expect(report.sublayersComputed < 300 + 24) }
        }
    }

    /// A model that is read anew in every pass is read as seldom as memory allows.
    @Test(arguments: [12, 30, 60, 110, 500])
    func wavesSaveReading(_ states: Int) throws {
        let batches = try batches(Array(repeating: Self.rows, count: 8))
        for masks in [leaveOneOut(blocks: 12), everyBlockMask(blocks: 5)] {
            let blocks = masks[0].blockCount
            let bytes = states * Self.stateBytes
            let together = WatchedModel.powers(blocks: blocks, rereadsWeights: true)
            let report = try checkedWalk(together, batches, masks, bytes: bytes)
            if states >= 60 { #expect(report.sublayersComputed == batches.count * MaskTree(masks).sublayers) }
            var alone = 0
            for batch in batches {
                let one = WatchedModel.powers(blocks: blocks, rereadsWeights: true)
                try checkedWalk(one, [batch], masks, bytes: bytes)
                alone += passes(one)
            }
            #expect(passes(together) <= alone)
            if states == 500 { #expect(passes(together) == 2 * blocks) }
            if states == 110 { #expect(passes(together) < alone) }
        }
    }

    /// Times that a model's file is read from: calls at another sublayer than the call before.
    func passes(_ model: WatchedModel) -> Int {
        let sublayers = model.calls.map(\.sublayer)
        return zip(sublayers, [-1] + sublayers).count { $0 != $1 }
    }

    @Test func endingEarlyLetsGoOfAllStates() throws {
        let masks = leaveOneOut(blocks: 6)
        let batches = try batches([3, 4, 2])
        for failing in 1...12 {
            let model = WatchedModel.powers(blocks: 6)
            model.failsAtCall = failing
            let error = #expect(throws: PruneError.self) {
                _ = try walk(
                    model, batches, under: masks, WalkOptions(), stage: "test", progress: nil
                ) { (_) throws(PruneError) in }
            }
            #expect(error?.kind == .memory && model.rowsAlive == 0)
        }
        for budget in [nil, 0, 200] as [Int?] {
            let model = WatchedModel.powers(blocks: 6)
            let error = #expect(throws: PruneError.self) {
                _ = try walk(
                    model, batches, under: masks, reference: masks[0], WalkOptions(memoryBudget: budget), stage: "test",
                    progress: { $0.done > 30 }
                ) { (_) throws(PruneError) in }
            }
            #expect(error?.kind == .cancelled && model.rowsAlive == 0 && model.mostRowsAlive > 0)
        }
    }

    @Test func theSameOptionsTakeTheSameSublayers() throws {
        let model = WatchedModel.powers(blocks: 6, rereadsWeights: true)
        let options = WalkOptions(memoryBudget: 5 * Self.stateBytes).settled(for: model)
        let masks = everyBlockMask(blocks: 6)
        let batches = try batches([4, 4, 2])
        let counts = try [model, DryRun(model.shape)].map { (own: any Model) in
            try walk(own, batches, under: masks, options, stage: "test", progress: nil) { (_) throws(PruneError) in }
                .sublayersComputed
        }
        #expect(counts[0] == counts[1])
    }
}

/// Random numbers of a seed.
struct SeededNumbers {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 | 1 }

    mutating func next(below end: Int) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int(state >> 33) % end
    }
}
