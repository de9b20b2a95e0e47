// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

#if canImport(Glibc)
    import Glibc
#endif

/// Every measure of masks against plain arithmetic, and against each mask alone.
@Suite struct MeasureTests {
    let model = HandModel(updates: [[0.3, -1, 0, 0.5], [0, 1.5, -0.5, 0], [2, 0, 0.25, 0], [0, -0.125, 1, -1]])
    let all = KeepMask(blocks: 2)
    static let ofTokens: [Measure] = [.loss, .logitL2, .kl, .js]

    func data() throws -> TokenData {
        try TokenData(
            tokens: [0, 1, 2, 3, 1, 2, 2], lengths: [3, 2, 2], weights: [1, 0.5, 2, 1, 0, 1, 3])
    }

    var everyMask: [KeepMask] {
        (0..<16).map { bits in (0..<4).reduce(all) { bits >> $1 & 1 == 0 ? $0.removing(unit: $1, .sublayer) : $0 } }
    }

    func values(
        _ measure: Measure, _ masks: [KeepMask], cap: Double? = nil, reference: KeepMask? = nil,
        _ options: WalkOptions = WalkOptions()
    ) throws -> [Double] {
        try damages(model, data(), under: masks, measure, cap: cap, reference: reference, options, progress: nil)
            .values
    }

    /// The logits that a token predicts its successor with.
    func logits(_ id: Int32, _ mask: KeepMask) -> [Double] {
        mask.kept.reduce([Double(id), 1, 0, 0]) { zip($0, model.updates[$1]).map { $0 + Double($1) } }
    }

    func damage(_ measure: Measure, _ id: Int32, _ next: Int32, _ mask: KeepMask, _ reference: KeepMask) -> Double {
        let (a, b) = (logits(id, mask), logits(id, reference))
        return switch measure {
        case .logitL2: zip(a, b).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }.squareRoot()
        case .kl: relativeEntropy(of: softmax(b), from: softmax(a))
        case .js: jensenShannon(softmax(a), softmax(b))
        default: -logSoftmax(a)[Int(next)]
        }
    }

    /// Predicted tokens of the data with a weight above 0: the token before, the token, its weight.
    let predicted: [(Int32, Int32, Double)] = [(0, 1, 0.5), (1, 2, 2), (2, 2, 3)]

    @Test(arguments: ofTokens, [nil, 0b0110] as [Int?])
    func damagesArePlainArithmetic(_ measure: Measure, _ reference: Int?) throws {
        let reference = reference.map { everyMask[$0] }
        for (mask, value) in zip(everyMask, try values(measure, everyMask, reference: reference)) {
            let exact = predicted.reduce(0) { $0 + $1.2 * damage(measure, $1.0, $1.1, mask, reference ?? all) } / 5.5
            #expect(abs(value - exact) < 1e-6)
        }
    }

    @Test(arguments: ofTokens, [nil, 0] as [Int?])
    func damagesOfManyMasksEqualThoseOfEachAlone(_ measure: Measure, _ memory: Int?) throws {
        for reference in [nil, everyMask[5]] {
            for batch in [1, 1000] {
                let options = WalkOptions(batchTokens: batch, memoryBudget: memory)
                let together = try values(measure, everyMask + [all, all], reference: reference, options)
                for (mask, value) in zip(everyMask + [all, all], together) {
                    #expect(try values(measure, [mask], reference: reference, options) == [value])
                }
            }
        }
    }

    @Test(arguments: [Measure.logitL2, .kl, .js])
    func distancesToTheReferenceAreZero(_ measure: Measure) throws {
        for reference in [nil, all, everyMask[6], everyMask[0]] {
            #expect(try values(measure, [reference ?? all], reference: reference) == [0])
        }
    }

    @Test func theReportCountsTheReference() throws {
        func report(_ masks: [KeepMask], _ measure: Measure, _ reference: KeepMask?) throws -> WalkReport {
            try damages(
                model, data(), under: masks, measure, cap: nil, reference: reference, WalkOptions(), progress: nil
            ).report
        }
        let without = all.removing(unit: 3, .sublayer)
        // The reference shares sublayers 0 to 2 with the mask and takes one more; mask by mask, it would be 4 + 3.
        let shared = try report([without], .kl, nil)
        #expect(shared.sublayersComputed == 4 && shared.sublayersNaive == 7 && shared.tokens == 7)
        #expect(try report([without, all], .kl, nil).sublayersNaive == 7)
        // It does not come first of the masks: computed apart, 3 + 4.
        let apart = try report([all], .js, without)
        #expect(apart.sublayersComputed == 7 && apart.sublayersNaive == 7)
        #expect(try report([without], .loss, nil).sublayersComputed == 3)
    }

    @Test(arguments: ofTokens)
    func aCapHoldsValuesDown(_ measure: Measure) throws {
        let free = try values(measure, everyMask)
        let cap = (free.min()! + free.max()!) / 2
        let capped = try values(measure, everyMask, cap: cap)
        #expect(capped == free.map { $0 < cap ? $0 : cap })
        #expect(Set(capped).count > 1 && capped.contains(cap))
    }

    @Test(arguments: ofTokens)
    func brokenWeightsAreNamed(_ measure: Measure) throws {
        let broken = HandModel(updates: [[0, 0, 0], [1, 0, 0], [0, .infinity, 0], [0, 0, 1]])
        let data = try TokenData(tokens: [0, 1, 2], lengths: [3], weights: nil)
        let without = all.removing(unit: 2, .sublayer)
        func run(_ mask: KeepMask, reference: KeepMask) throws -> [Double] {
            try damages(
                broken, data, under: [mask], measure, cap: nil, reference: reference, WalkOptions(), progress: nil
            ).values
        }
        #expect(try run(without, reference: without).allSatisfy(\.isFinite))
        for (mask, reference) in [(all, without)] + (measure == .loss ? [] : [(without, all)]) {
            let error = #expect(throws: PruneError.self) { try run(mask, reference: reference) }
            #expect(error?.kind == .nonFinite && error?.message.contains("attn.1") == true)
        }
    }

    @Test func measuresRefuseDataTheyCannotUse() throws {
        let short = try TokenData(tokens: [0, 1], lengths: [1, 1], weights: nil)
        let nothing = #expect(throws: PruneError.self) {
            try damages(model, short, under: [all], .kl, cap: nil, reference: nil, WalkOptions(), progress: nil)
        }
        #expect(nothing?.kind == .data)
        for measure in [Measure.choiceError, .choiceLoss] {
            let error = #expect(throws: PruneError.self) { try values(measure, [all]) }
            #expect(error?.kind == .data && error?.message.contains("no choices") == true)
        }
        let other = #expect(throws: PruneError.self) { try values(.kl, [all], reference: KeepMask(blocks: 3)) }
        #expect(other?.kind == .argument)
    }

    @Test(arguments: [Measure.loss, .kl])
    func progressCountsItsStepsAndCancels(_ measure: Measure) throws {
        for reference in [nil, everyMask[5]] {
            var seen: [Progress] = []
            let options = WalkOptions(batchTokens: 3)
            _ = try damages(
                model, data(), under: everyMask, measure, cap: nil, reference: reference, options, stage: "own"
            ) {
                seen.append($0)
                return false
            }
            let last = try #require(seen.last)
            #expect(last.done == last.total && last.stage == "own")
            let error = #expect(throws: PruneError.self) {
                try damages(
                    model, data(), under: everyMask, measure, cap: nil, reference: reference, options
                ) { _ in true }
            }
            #expect(error?.kind == .cancelled)
        }
    }
}
