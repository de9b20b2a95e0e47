// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// How a model does on multiple-choice items under each of some masks.
struct ChoiceMeasurement {
    /// One per mask.
    let means: [ChoiceMean]
    let report: WalkReport

    /// Errors: `.data` if the data has no choices, or a candidate's id is outside the vocabulary; `.nonFinite` naming
    /// the layer; those of `walk`.
    init(
        _ model: any Model, _ data: TokenData, under masks: [KeepMask], _ options: WalkOptions, stage: String,
        progress: ProgressMeter.Listener?
    ) throws(PruneError) {
        let choices = try choiceItems(of: data)
        try choices.check(vocabulary: model.shape.vocabularySize)
        var means = Array(repeating: ChoiceMean(), count: masks.count)
        report = try walk(
            model, data.batches(of: options.batchTokens), under: masks, options, stage: stage, progress: progress
        ) { ends throws(PruneError) in
            for end in ends {
                let values = try logLikelihoods(model, end.state, choices, masks[end.places[0]])
                for place in end.places { means[place].add(values, of: choices) }
            }
        }
        self.means = means
    }
}

/// Choices of multiple-choice items, as running sums in double.
struct ChoiceMean {
    private(set) var items = 0
    private var wrong = 0
    private var losses = 0.0
    /// Log-likelihoods of the candidates of an item that did not all come yet.
    private var open: [Double] = []

    /// Share of the items whose answer does not have the highest score; of equal scores, the first candidate's counts.
    var error: Double { Double(wrong) / Double(items) }
    /// Mean of -log softmax over the candidates' scores, at the answer.
    var loss: Double { losses / Double(items) }

    /// Adds the log-likelihoods of the next candidates, in order.
    mutating func add(_ logLikelihoods: [Double], of choices: ChoiceItems) {
        open += logLikelihoods
        var used = 0
        while items < choices.itemCount {
            let candidates = choices.candidates(ofItem: items)
            guard open.count - used >= candidates.count else { break }
            let scores = zip(candidates, open[used...]).map { candidate, value in
                choices.score == .sum ? value : value / Double(choices.tokens(ofCandidate: candidate).count)
            }
            settle(scores, answer: choices.answers[items])
            used += candidates.count
        }
        open.removeFirst(used)
    }

    private mutating func settle(_ scores: [Double], answer: Int) {
        var best = 0
        for (index, score) in scores.enumerated() where score > scores[best] { best = index }
        if best != answer { wrong += 1 }
        losses += log(scores.reduce(0) { $0 + exp($1 - scores[best]) }) + scores[best] - scores[answer]
        items += 1
    }
}

/// The log-likelihood of every candidate of multiple-choice data after its context: the sum over its tokens, in nats.
///
/// Errors: as `ChoiceMeasurement`.
public func choiceLogLikelihoods(
    _ model: any Model, _ data: TokenData, under mask: KeepMask, batchTokens: Int = TokenData.usualBatch,
    progress: ProgressMeter.Listener? = nil
) throws(PruneError) -> [Double] {
    let choices = try choiceItems(of: data)
    try choices.check(vocabulary: model.shape.vocabularySize)
    var values: [Double] = []
    _ = try walk(
        model, data.batches(of: batchTokens), under: [mask], WalkOptions(batchTokens: batchTokens), stage: "choices",
        progress: progress
    ) { ends throws(PruneError) in
        for end in ends { values += try logLikelihoods(model, end.state, choices, mask) }
    }
    return values
}

/// The choices of a data set. Errors: `.data` if it has none.
public func choiceItems(of data: TokenData) throws(PruneError) -> ChoiceItems {
    guard let choices = data.choices else {
        throw PruneError(.data, "the data has no choices; make it of multiple-choice items")
    }
    return choices
}

/// The log-likelihoods of the candidates that a state's batch predicts, in order.
private func logLikelihoods(
    _ model: any Model, _ state: any HiddenState, _ choices: ChoiceItems, _ mask: KeepMask
) throws(PruneError) -> [Double] {
    let candidates = choices.candidates(in: state.batch)
    var rows: [Int] = []
    var tokens: [Int32] = []
    for candidate in candidates {
        let own = choices.tokens(ofCandidate: candidate)
        let first = choices.firstRow(ofCandidate: candidate, in: state.batch)
        rows += first..<first + own.count
        tokens += own
    }
    var losses = try finiteLosses(model, state, at: rows, of: tokens, under: mask)[...]
    return candidates.map { candidate in
        let count = choices.tokens(ofCandidate: candidate).count
        defer { losses = losses.dropFirst(count) }
        return losses.prefix(count).reduce(0.0) { $0 - Double($1) }
    }
}
