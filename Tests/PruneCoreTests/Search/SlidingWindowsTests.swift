// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

@Suite struct SlidingWindowsTests {
    /// The windows that are found, and the candidates in order, where a candidate is accepted if `good` holds for it.
    private static func slide(
        _ mayJoin: [Bool], most: Int = .max, _ good: (ClosedRange<Int>) -> Bool
    ) throws -> (windows: [ClosedRange<Int>], tried: [ClosedRange<Int>]) {
        var tried: [ClosedRange<Int>] = []
        let found = try SlidingWindows(mayJoin: mayJoin, most: most) { (windows, candidate) throws(PruneError) in
            #expect(windows.allSatisfy { $0.lowerBound > candidate.upperBound })
            tried.append(candidate)
            return good(candidate)
        }
        return (found.windows, tried)
    }

    /// Eight blocks, the last one protected.
    private static let eight = [true, true, true, true, true, true, false]

    @Test func windowsGrowDownAndBeginAgainAtTheBlockThatDidNotFit() throws {
        // At most three blocks become one.
        let (windows, tried) = try Self.slide(Self.eight) { $0.count <= 3 }
        #expect(windows == [4...6, 1...3])
        #expect(tried == [5...6, 4...6, 3...6, 2...3, 1...3, 0...3])
    }

    @Test func aFailureAtOnceSlidesByOneBlock() throws {
        let (windows, tried) = try Self.slide(Self.eight) { $0.upperBound <= 4 && $0.count <= 2 }
        #expect(windows == [3...4, 1...2])
        #expect(tried == [5...6, 4...5, 3...4, 2...4, 1...2, 0...2])
    }

    @Test func theWindowThatReachesBlockZeroIsMerged() throws {
        let (windows, tried) = try Self.slide(Self.eight) { _ in true }
        #expect(windows == [0...6])
        #expect(tried.count == 6)
        #expect(try Self.slide(Self.eight) { _ in false }.windows == [])
    }

    @Test func blocksThatMayNotJoinEndAWindowUntried() throws {
        // Block 4 is protected: neither 3 with 4 nor 4 with 5.
        let (windows, tried) = try Self.slide([true, true, true, false, false, true, true]) { _ in true }
        #expect(windows == [5...7, 0...3])
        #expect(tried == [6...7, 5...7, 2...3, 1...3, 0...3])
    }

    @Test func noMoreBlocksGoThanAsked() throws {
        for most in 1...6 {
            let windows = try Self.slide(Self.eight, most: most) { $0.count <= 3 }.windows
            #expect(windows.reduce(0) { $0 + $1.count - 1 } == min(most, 4))
        }
        #expect(try Self.slide([], most: 3) { _ in true }.windows == [])
    }
}

@Suite struct BlockMergingTests {
    private static let model = try? randomModel(
        "LlamaForCausalLM", familySizes("LlamaForCausalLM").merging(["num_hidden_layers": "6"]) { $1 })

    private static func data() throws -> TokenData {
        let tokens = (0..<60).map { Int32($0 * 7 % 31) }
        return try TokenData(tokens: tokens, lengths: [20, 25, 15], weights: nil)
    }

    /// The similarity of two models by the states after their final norms, sequence by sequence.
    private static func similarity(_ model: NativeModel, _ edited: NativeModel, _ mask: KeepMask) throws -> Double {
        let data = try data()
        func rows(_ model: NativeModel, _ mask: KeepMask, _ batch: TokenBatch) throws -> [Double] {
            let state = try model.settledAtEnd(try model.run(try model.start(batch), under: mask))
            let rows = try model.normedRows((0..<batch.rowCount).map { LogitRow(state: state, row: $0) })
            return UnsafeBufferPointer(start: rows.pointer, count: rows.count).map(Double.init)
        }
        var sum = 0.0
        for sequence in 0..<data.sequenceCount {
            let batch = TokenBatch(data, sequence..<sequence + 1)
            let (a, b) = (try rows(model, KeepMask(blocks: 6), batch), try rows(edited, mask, batch))
            let product = zip(a, b).reduce(0) { $0 + $1.0 * $1.1 }
            let lengths = a.reduce(0) { $0 + $1 * $1 } * b.reduce(0) { $0 + $1 * $1 }
            sum += product / lengths.squareRoot()
        }
        return sum / Double(data.sequenceCount)
    }

    @Test(arguments: [BlockMerge.Rule.running, .sum]) func similaritiesAreThoseOfTheMergedModels(
        _ rule: BlockMerge.Rule
    ) throws {
        let model = try #require(Self.model)
        var options = MergeOptions()
        (options.threshold, options.weight, options.rule) = (0.5, 0.4, rule)
        let found = try mergeBlocks(model, try Self.data(), options)
        #expect(found.steps.count == 4 && found.evaluated == 4)
        // Each look once more, made without any state in common.
        var windows: [ClosedRange<Int>] = []
        var last: ClosedRange<Int>?
        for step in found.steps {
            if let window = last, window.upperBound != step.high { windows.append(window); last = nil }
            let all = windows + [step.low...step.high]
            let edits = all.map {
                Edit.merge(
                    BlockMerge(into: $0.lowerBound, from: Array($0.dropFirst()), weight: 0.4, rule: rule))
            }
            let mask = KeepMask(blocks: 6).removing(units: all.flatMap { $0.dropFirst() }, .block)
            let wanted = try Self.similarity(model, try model.edited(by: edits), mask)
            #expect(abs(step.similarity - wanted) < 1e-6)
            #expect(step.isAccepted == (step.similarity > 0.5))
            if step.isAccepted { last = step.low...step.high }
        }
        if let window = last { windows.append(window) }
        #expect(found.edits.count == windows.count)
        #expect(found.mask == KeepMask(blocks: 6).removing(units: windows.flatMap { $0.dropFirst() }, .block))
        if !found.edits.isEmpty {
            let own = try Self.similarity(model, try model.edited(by: found.edits), found.mask)
            #expect(abs(own - found.similarity) < 1e-6)
        }
    }

    @Test func memoryAndBatchesDoNotChangeWhatIsFound() throws {
        let model = try #require(Self.model)
        var options = MergeOptions()
        options.threshold = 0.2
        let found = try mergeBlocks(model, try Self.data(), options)
        (options.memoryBudget, options.batchTokens) = (1, 10)
        let again = try mergeBlocks(model, try Self.data(), options)
        #expect(found.edits == again.edits && found.steps.map(\.low) == again.steps.map(\.low))
        for (step, other) in zip(found.steps, again.steps) { #expect(abs(step.similarity - other.similarity) < 1e-6) }
    }

    @Test(arguments: 1...4) func asManyBlocksGoAsAreAsked(_ remove: Int) throws {
        let model = try #require(Self.model)
        var options = MergeOptions()
        (options.remove, options.weight) = (remove, 0.5)
        let found = try mergeBlocks(model, try Self.data(), options)
        #expect(found.mask.removed.count == 2 * remove)
        #expect(found.steps.allSatisfy { $0.isAccepted == ($0.similarity > found.threshold) })
        options.remove = nil
        options.threshold = found.threshold
        if found.threshold >= -1 {
            #expect(try mergeBlocks(model, try Self.data(), options).mask.removed.count >= 2 * remove)
        }
    }

    @Test func whatCannotBeAskedIsRefused() throws {
        let model = try #require(Self.model)
        let data = try Self.data()
        var options = MergeOptions()
        options.remove = 5
        expectFault(.argument, naming: "4 blocks") { _ = try mergeBlocks(model, data, options) }
        options.remove = nil
        options.threshold = 1
        expectFault(.argument, naming: "threshold") { _ = try mergeBlocks(model, data, options) }
        options.threshold = 0.5
        options.protected = [6]
        expectFault(.argument, naming: "6") { _ = try mergeBlocks(model, data, options) }
        options.protected = []
        #expect(throws: PruneError.self) { try mergeBlocks(model, data, options) { _ in true } }
    }
}
