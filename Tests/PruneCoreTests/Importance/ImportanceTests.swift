// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

#if canImport(Glibc)
    import Glibc
#endif

/// Metrics and leave-one-out on a model that is not an engine of ours: they need nothing but the protocol.
@Suite struct ImportanceTests {
    let model = HandModel(updates: [[3, 0, 0, 0], [0, 4, 0, 0], [0, 0, 0, 0], [0, 0, 2, -1]])
    let all = KeepMask(blocks: 2)

    func data(_ sequences: [[Int32]], weights: [Float]? = nil) throws -> TokenData {
        try TokenData(tokens: sequences.flatMap { $0 }, lengths: sequences.map(\.count), weights: weights)
    }

    func collected(_ data: TokenData, selection: TokenSelection = .all, batch: Int = 100) throws -> ModelStatistics {
        var statistics = ModelStatistics(blocks: 2, selection: selection, windows: true)
        let meter = ProgressMeter(stage: "test", total: 1, listener: nil)
        try statistics.collect(model, data.batches(of: batch), under: all, meter)
        return statistics
    }

    @Test func metricsOfOneTokenByHand() throws {
        // Token 0 starts at (0, 1, 0, 0); attention 0 makes it (3, 1, 0, 0).
        let statistics = try collected(data([[0]]))
        let cosine = 1 - 1 / 10.0.squareRoot()
        #expect(abs(try statistics.scores(.cosine, .sublayer)[0] - cosine) < 1e-12)
        #expect(abs(try statistics.scores(.angular, .sublayer)[0] - acos(1 / 10.0.squareRoot()) / Double.pi) < 1e-12)
        #expect(try statistics.scores(.l1, .sublayer) == [3, 4, 0, 3])
        #expect(try statistics.scores(.l2, .sublayer) == [3, 4, 0, 5.0.squareRoot()])
        #expect(try statistics.scores(.relativeL1, .sublayer)[0] == 3)
        #expect(try statistics.scores(.relativeL1, .sublayer, relativeTo: .output)[0] == 0.75)
        #expect(try statistics.scores(.relativeL2, .sublayer)[0] == 3)
        // Block 0 goes from (0, 1, 0, 0) to (3, 5, 0, 0).
        #expect(try statistics.scores(.l2, .block)[0] == 5)
        #expect(try statistics.scores(.l1, .attention) == [3, 0])
        #expect(try statistics.scores(.l1, .feedForward) == [4, 3])
    }

    @Test func windowsSpanBlocks() throws {
        let windows = try collected(data([[0]])).windowDistances()
        // From (0, 1, 0, 0) over both blocks to (3, 5, 2, -1).
        #expect(abs(windows[2] - acos(5 / 39.0.squareRoot()) / Double.pi) < 1e-12)
        #expect(windows[3].isNaN)
        let blocks = try collected(data([[0]])).scores(.angular, .block)
        #expect(abs(windows[0] - blocks[0]) < 1e-12 && abs(windows[1] - blocks[1]) < 1e-12)
    }

    @Test func partsMergedEqualTheWhole() throws {
        let sequences: [[Int32]] = [[0, 1, 2], [3, 1], [2, 2, 2, 0]]
        let whole = try collected(data(sequences))
        var merged = try collected(data(Array(sequences[..<1])))
        try merged.merge(try collected(data(Array(sequences[1...])), batch: 2))
        for metric in Metric.ofStates {
            for (a, b) in zip(try whole.scores(metric, .sublayer), try merged.scores(metric, .sublayer)) {
                #expect(abs(a - b) <= 1e-12 * abs(a))
            }
        }
        for unit in 0..<4 { #expect(merged.statistics(ofUnit: unit, .sublayer).tokens == 9) }
    }

    /// Batches that go through a sublayer together score as they do one by one: the sums are added up batch by batch.
    @Test func batchesTogetherScoreAsOneByOne() throws {
        let data = try data([[0, 1, 2], [3, 1], [2, 2, 2, 0], [1]])
        let mask = all.removing(unit: 1, .block)
        for mask in [all, mask, mask.removing(unit: 0, .sublayer)] {
            let watched = WatchedModel(model, rereadsWeights: true)
            let meter = ProgressMeter(stage: "test", total: 1, listener: nil)
            var (together, alone) = (
                ModelStatistics(blocks: 2, windows: true), ModelStatistics(blocks: 2, windows: true)
            )
            try together.collect(watched, data.batches(of: 1), under: mask, meter)
            // Calls of at most 4 rows, the longest batch: no two of 3, 2, 4 and 1 go together. Then the next sublayer.
            #expect(watched.calls.map(\.sublayer) == mask.kept.flatMap { [$0, $0, $0, $0] })
            for batch in data.batches(of: 1) { try alone.collect(model, [batch], under: mask, meter) }
            for metric in Metric.ofStates {
                for granularity in [Granularity.sublayer, .block] {
                    #expect(try together.scores(metric, granularity) == alone.scores(metric, granularity))
                }
            }
            #expect(try together.windowDistances().map(\.bitPattern) == alone.windowDistances().map(\.bitPattern))
            #expect(together.statistics(ofUnit: 1, .block).tokens == 10 && watched.rowsAlive == 0)
        }
    }

    @Test func lastTokenOfEachSequence() throws {
        let last = try collected(data([[3, 0], [1, 2, 0]]), selection: .last)
        let zeros = try collected(data([[0, 0]]))
        #expect(try last.scores(.cosine, .sublayer) == zeros.scores(.cosine, .sublayer))
        #expect(last.statistics(ofUnit: 0, .block).tokens == 2)
    }

    @Test func mergeRefusesOtherShapes() throws {
        var statistics = ModelStatistics(blocks: 2)
        #expect(throws: PruneError.self) { try statistics.merge(ModelStatistics(blocks: 3)) }
        #expect(throws: PruneError.self) { try statistics.merge(ModelStatistics(blocks: 2, selection: .last)) }
        #expect(throws: PruneError.self) { try ModelStatistics(blocks: 2).scores(.cosine, .sublayer) }
    }

    @Test func aZeroStateHasNoRelativeNorm() {
        var statistics = UnitStatistics()
        let zero: [Float] = [0, 0]
        let one: [Float] = [0, 1]
        let two: [Float] = [0, 2]
        let first = statistics.add(zero, one, width: 2)
        #expect(first)
        #expect(statistics.value(.cosine, .input) == 1)
        #expect(statistics.value(.relativeL2, .input) == 0)
        let second = statistics.add(one, two, width: 2)
        #expect(second)
        #expect(statistics.value(.relativeL2, .input) == 1)
        #expect(statistics.value(.cosine, .input) == 0.5)
        let broken = [statistics.add(one, [.nan, 0], width: 2), statistics.add(one, [.infinity, 0], width: 2)]
        #expect(broken == [false, false])
    }

    @Test func nearVectorsKeepTheirDigits() {
        // g = (1 + t) h + d with d orthogonal to h: tan of the angle is |d| / ((1 + t) |h|), here down to 1e-7.
        for (growth, shift) in [(0.5, 1e-3), (0, 1e-5), (1e-3, 1e-7), (-0.25, 1e-7)] {
            let hh = 2.0
            let length = 1 + growth
            let gg = hh * length * length + shift * shift
            let uu = hh * growth * growth + shift * shift
            let angle = atan(shift / (hh.squareRoot() * length))
            let distance = cosineDistance(squares: hh, gg, ofDifference: uu)
            let expected = 2 * sin(angle / 2) * sin(angle / 2)
            // The squares are rounded to doubles, which is felt as far as the lengths differ.
            let tolerance = 1e-12 * expected + 1e-15 * abs(growth)
            #expect(abs(distance - expected) <= tolerance)
            #expect(abs(angularDistance(cosineDistance: expected) - angle / Double.pi) <= 1e-12 * angle)
        }
        #expect(cosineDistance(squares: 4, 9, ofDifference: 25) == 2)
        #expect(angularDistance(cosineDistance: 2) == 1 && angularDistance(cosineDistance: 0) == 0)
        #expect(
            cosineDistance(squares: 0, 0, ofDifference: 0) == 0 && cosineDistance(squares: 0, 3, ofDifference: 3) == 1)
        #expect(abs(angularDistance(cosineDistance: 1) - 0.5) < 1e-15)
    }

    @Test func unitsOfABlockAreThoseOfItsStates() {
        // A width that no vector divides, so that the loop's remainder is part of it.
        let width = 77
        var random = RandomSource(seed: 5, stream: 0)
        let states = (0..<3).map { _ in (0..<width).map { _ in Float(random.unit()) - 0.5 } }
        states[0].withUnsafeBufferPointer { h in
            states[1].withUnsafeBufferPointer { m in
                states[2].withUnsafeBufferPointer { g in
                    guard let h = h.baseAddress, let m = m.baseAddress, let g = g.baseAddress else { return }
                    func alone(_ from: UnsafePointer<Float>, _ to: UnsafePointer<Float>) -> UnitStatistics {
                        var unit = UnitStatistics()
                        let added = unit.add(from, to, width: width)
                        #expect(added)
                        return unit
                    }
                    func same(_ a: UnitStatistics, _ b: UnitStatistics) {
                        for metric in Metric.ofStates {
                            for side in [RelativeTo.input, .output] {
                                let (x, y) = (a.value(metric, side) ?? .nan, b.value(metric, side) ?? 0)
                                #expect(abs(x - y) <= 1e-14 * abs(y))
                            }
                        }
                    }
                    var both = BlockStatistics(keeps: (true, true))
                    let added = both.add([h, m, g], at: 0, width: width)
                    #expect(added)
                    same(both.attention, alone(h, m))
                    same(both.feedForward, alone(m, g))
                    same(both.block, alone(h, g))
                    var half = BlockStatistics(keeps: (false, true))
                    let halves = [half.add([h, g], at: 0, width: width), half.add([h, g], at: 0, width: width)]
                    #expect(halves == [true, true])
                    same(half.feedForward, alone(h, g))
                    same(half.block, alone(h, g))
                    #expect(half.attention.value(.cosine, .input) == 0 && half.attention.value(.l2, .input) == 0)
                }
            }
        }
    }

    @Test func leaveOneOutEqualsEvaluations() throws {
        let data = try data([[0, 1, 2], [3, 1]], weights: [1, 0.5, 2, 1, 1])
        for granularity in [Granularity.sublayer, .block, .attention, .feedForward] {
            let damage = try leaveOneOut(model, data, granularity, from: all)
            for unit in 0..<granularity.unitCount(blocks: 2) {
                let masks = [all, all.removing(unit: unit, granularity)]
                let losses = try evaluate(model, data, under: masks).map(\.loss)
                #expect(abs(damage.loss[unit] - (losses[1] - losses[0])) < 1e-12)
            }
        }
        // Sublayer 2 adds nothing, so nothing is lost without it; sublayer 3 moves the logits by (2, -1).
        let damage = try leaveOneOut(model, data, .sublayer, from: all)
        #expect(damage.loss[2] == 0 && damage.logitL2?[2] == 0)
        #expect(abs((damage.logitL2?[3] ?? 0) - 5.0.squareRoot()) < 1e-6)
    }

    @Test func aRemovedUnitScoresNothing() throws {
        let mask = all.removing(unit: 0, .block)
        let damage = try leaveOneOut(model, try data([[0, 1]]), .block, from: mask)
        #expect(damage.loss[0] == 0 && damage.logitL2?[0] == 0 && damage.loss[1] != 0)
        let request = ScoreRequest(metrics: Metric.ofStates, mask: mask)
        for row in try score(model, try data([[0, 1]]), request) { #expect(row[0] == 0 && row[1] == 0) }
    }

    @Test func evaluationPoolsTokensAndSequences() throws {
        let data = try data([[0, 1, 2], [3, 1]])
        let result = try evaluate(model, data, under: [KeepMask(blocks: 2).removing(unit: 3, .sublayer)])[0]
        // The hidden states after sublayer 2 are (id + 3, 5, 0, 0); the targets are 1 and 2 after ids 0 and 1, 1 after 3.
        let losses = [(0.0, 5.0), (1.0, 0.0), (3.0, 5.0)].map { logSumExp([$0.0 + 3, 5, 0, 0]) - $0.1 }
        #expect(abs(result.loss - losses.reduce(0, +) / 3) < 1e-6)
        let sequences = (exp((losses[0] + losses[1]) / 2) + exp(losses[2])) / 2
        #expect(abs(result.sequencePerplexity - sequences) < 1e-5 * sequences)
        #expect(result.tokens == 3 && result.sequences == 2)
    }

    @Test func progressCountsItsStepsAndCancels() throws {
        let data = try data([[0, 1, 2], [3, 1]])
        var seen: [Progress] = []
        _ = try leaveOneOut(model, data, .sublayer, from: all, logitL2: true, WalkOptions(batchTokens: 3)) {
            seen.append($0)
            return false
        }
        let last = try #require(seen.last)
        #expect(last.done == last.total)
        #expect(throws: PruneError.self) { try evaluate(model, data, under: [all]) { _ in true } }
    }

    @Test func magnitudeNeedsWeights() throws {
        #expect(throws: PruneError.self) { try score(model, nil, ScoreRequest(metrics: [.magnitude], mask: all)) }
    }
}
