// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

#if canImport(Glibc)
    import Glibc
#endif

/// Multiple-choice data: how it lies in sequences, and its damages against plain arithmetic.
@Suite struct ChoiceTests {
    let model = HandModel(updates: [[0.3, -1, 0, 0.5], [0, 1.5, -0.5, 0], [2, 0, 0.25, 0], [0, -0.125, 1, -1]])
    let all = KeepMask(blocks: 2)
    /// Single tokens; longer ones of unequal lengths; one token beside a longer one; single tokens again.
    let items = [
        ChoiceItem(context: [1, 2], candidates: [[0], [3], [1]], answer: 1),
        ChoiceItem(context: [3], candidates: [[0, 2, 1], [2, 2]], answer: 0),
        ChoiceItem(context: [0, 0, 2], candidates: [[1], [1, 3]], answer: 1),
        ChoiceItem(context: [2, 0], candidates: [[2], [3]], answer: 0),
    ]

    var masks: [KeepMask] {
        (0..<16).map { bits in (0..<4).reduce(all) { bits >> $1 & 1 == 0 ? $0.removing(unit: $1, .sublayer) : $0 } }
    }

    /// The log-likelihood of a candidate, token by token.
    func logLikelihood(_ context: [Int32], _ candidate: [Int32], _ mask: KeepMask) -> Double {
        var (last, sum) = (context.last!, 0.0)
        for token in candidate {
            let logits = mask.kept.reduce([Double(last), 1, 0, 0]) {
                zip($0, model.updates[$1]).map { $0 + Double($1) }
            }
            sum += logSoftmax(logits)[Int(token)]
            last = token
        }
        return sum
    }

    func scores(_ item: ChoiceItem, _ mask: KeepMask, _ score: ChoiceScore) -> [Double] {
        item.candidates.map { logLikelihood(item.context, $0, mask) / (score == .mean ? Double($0.count) : 1) }
    }

    func values(_ measure: Measure, _ data: TokenData, _ masks: [KeepMask], batch: Int = 1000) throws -> [Double] {
        try damages(
            model, data, under: masks, measure, cap: nil, reference: nil, WalkOptions(batchTokens: batch), progress: nil
        ).values
    }

    @Test func itemsLieInSequences() throws {
        let data = try TokenData(items)
        #expect(data.tokens == [1, 2, 3, 3, 0, 2, 1, 3, 2, 2, 0, 0, 2, 1, 0, 0, 2, 1, 3, 2, 0, 2])
        #expect(data.offsets == [0, 3, 7, 10, 14, 19, 22])
        #expect(data.weights == [0, 0, 1, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 1])
        let choices = try choiceItems(of: data)
        #expect(choices.itemCount == 4 && choices.candidateCount == 9)
        #expect((0..<4).map { choices.candidates(ofItem: $0) } == [0..<3, 3..<5, 5..<7, 7..<9])
    }

    @Test(arguments: [1, 7, 1000])
    func logLikelihoodsArePlainArithmetic(_ batch: Int) throws {
        let data = try TokenData(items)
        for mask in masks {
            let exact = items.flatMap { item in item.candidates.map { logLikelihood(item.context, $0, mask) } }
            let found = try choiceLogLikelihoods(model, data, under: mask, batchTokens: batch)
            #expect(found.count == exact.count)
            for (a, b) in zip(found, exact) { #expect(abs(a - b) < 1e-6) }
        }
    }

    @Test(arguments: [ChoiceScore.sum, .mean], [1, 4, 1000])
    func damagesArePlainArithmetic(_ score: ChoiceScore, _ batch: Int) throws {
        let data = try TokenData(items, score: score)
        let errors = try values(.choiceError, data, masks, batch: batch)
        let losses = try values(.choiceLoss, data, masks, batch: batch)
        for (place, mask) in masks.enumerated() {
            let own = items.map { scores($0, mask, score) }
            let wrong = zip(items, own).count { item, scores in scores.firstIndex(of: scores.max()!) != item.answer }
            #expect(errors[place] == Double(wrong) / 4)
            let loss = zip(items, own).reduce(0.0) { $0 - logSoftmax($1.1)[$1.0.answer] } / 4
            #expect(abs(losses[place] - loss) < 1e-6)
            #expect(try values(.choiceError, data, [mask], batch: batch) == [errors[place]])
            #expect(try values(.choiceLoss, data, [mask], batch: batch) == [losses[place]])
        }
        #expect(Set(errors).count > 1)
    }

    /// Sums prefer short candidates; means do not.
    @Test func sumAndMeanScoresDiffer() throws {
        let item = ChoiceItem(context: [1], candidates: [[2], [1, 1, 1]], answer: 1)
        let mask = all.removing(unit: 2, .sublayer)
        let (sum, mean) = (scores(item, mask, .sum), scores(item, mask, .mean))
        #expect(sum[0] > sum[1] && mean[0] < mean[1])
        #expect(try values(.choiceError, TokenData([item], score: .sum), [mask]) == [1])
        #expect(try values(.choiceError, TokenData([item], score: .mean), [mask]) == [0])
    }

    @Test(arguments: [[2], [2, 1]] as [[Int32]])
    func tiesGoToTheFirst(_ candidate: [Int32]) throws {
        for (answer, error) in [(0, 0.0), (1, 1.0)] {
            let data = try TokenData([ChoiceItem(context: [0, 1], candidates: [candidate, candidate], answer: answer)])
            #expect(try values(.choiceError, data, [all]) == [error])
            #expect(abs(try values(.choiceLoss, data, [all])[0] - log(2)) < 1e-12)
        }
    }

    /// Calls that do not know of choices see the right answers alone.
    @Test func theLossIsThatOfTheRightAnswers() throws {
        let data = try TokenData(items)
        for mask in masks {
            let right = items.map { logLikelihood($0.context, $0.candidates[$0.answer], mask) }
            let evaluation = try evaluate(model, data, under: [mask])[0]
            #expect(abs(evaluation.loss + right.reduce(0, +) / 7) < 1e-6)
            #expect(evaluation.tokens == 7 && evaluation.weight == 7 && evaluation.sequences == 4)
            #expect(try values(.loss, data, [mask]) == [evaluation.loss])
        }
    }

    @Test func aWalkIsShared() throws {
        let report = try damages(
            model, TokenData(items), under: masks, .choiceLoss, cap: nil, reference: nil, WalkOptions(), progress: nil
        ).report
        #expect(report.sublayersComputed == 15 && report.sublayersNaive == 32 && report.tokens == 22)
    }

    @Test func aCapHoldsValuesDown() throws {
        let found = try damages(
            model, TokenData(items), under: masks, .choiceLoss, cap: 0.5, reference: nil, WalkOptions(), progress: nil)
        let free = try values(.choiceLoss, TokenData(items), masks)
        #expect(found.values == free.map { min($0, 0.5) } && found.values.contains(0.5))
    }

    @Test func badItemsAreNamed() throws {
        let good = items[0]
        let bad: [(ChoiceItem, String)] = [
            (ChoiceItem(context: [], candidates: [[0], [1]], answer: 0), "item 1: the context has length 0"),
            (ChoiceItem(context: [1], candidates: [[0]], answer: 0), "item 1 has 1 candidates"),
            (ChoiceItem(context: [1], candidates: [[0], []], answer: 0), "item 1: candidate 1 has length 0"),
            (ChoiceItem(context: [1], candidates: [[0], [1]], answer: 2), "item 1: the answer is 2"),
            (ChoiceItem(context: [1], candidates: [[0], [1]], answer: -1), "item 1: the answer is -1"),
            (ChoiceItem(context: [-7], candidates: [[0], [1]], answer: 0), "item 1: token id -7"),
            (ChoiceItem(context: [1], candidates: [[0], [1, -3]], answer: 0), "item 1: token id -3"),
        ]
        for (item, text) in bad {
            let error = #expect(throws: PruneError.self) { try TokenData([good, item]) }
            #expect(error?.kind == .data && error?.message.hasPrefix(text) == true)
        }
        #expect(throws: PruneError.self) { try TokenData([]) }
        let long = Array(repeating: Int32(0), count: TokenData.longestSequence)
        let error = #expect(throws: PruneError.self) {
            try TokenData([ChoiceItem(context: long, candidates: [[0], [1]], answer: 0)])
        }
        #expect(error?.message.contains("item 0: context and candidate 0") == true)
    }

    /// A context is repeated for each candidate: small items can ask for more memory than any machine has.
    @Test func itemsThatCannotFitAreRefused() throws {
        let context = Array(repeating: Int32(0), count: 1 << 23)
        let item = ChoiceItem(context: context, candidates: Array(repeating: [1, 2], count: 1 << 16), answer: 0)
        let error = #expect(throws: PruneError.self) { try TokenData([item]) }
        #expect(error?.kind == .memory && error?.message.contains("items 0 to 0") == true)
    }

    /// A wrong candidate of a single token stands in no sequence, and is checked all the same.
    @Test func wrongCandidatesFitTheVocabulary() throws {
        let data = try TokenData([items[0], ChoiceItem(context: [1], candidates: [[0], [4]], answer: 0)])
        for call in [{ try values(.choiceError, data, [all]) }, { try choiceLogLikelihoods(model, data, under: all) }] {
            let error = #expect(throws: PruneError.self) { try call() }
            #expect(error?.kind == .data)
            #expect(error?.message.contains("item 1: token id 4 of candidate 1 is outside the vocabulary of 4") == true)
        }
        #expect(try evaluate(model, data, under: [all])[0].loss.isFinite)
    }

    @Test func brokenWeightsAreNamed() throws {
        let broken = HandModel(updates: [[0, 0, 0, 0], [1, 0, .nan, 0], [0, 0, 0, 0], [0, 0, 1, 0]])
        let error = #expect(throws: PruneError.self) {
            try damages(
                broken, TokenData(items), under: [all], .choiceLoss, cap: nil, reference: nil, WalkOptions(),
                progress: nil)
        }
        #expect(error?.kind == .nonFinite && error?.message.contains("ffn.0") == true)
    }
}
