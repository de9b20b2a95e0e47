// SPDX-License-Identifier: Apache-2.0
/// A multiple-choice item: a context and at least two continuations of it, of which one is right.
public struct ChoiceItem: Sendable {
    public let context: [Int32]
    public let candidates: [[Int32]]
    /// The right candidate.
    public let answer: Int

    public init(context: [Int32], candidates: [[Int32]], answer: Int) {
        self.context = context
        self.candidates = candidates
        self.answer = answer
    }

    /// Candidates of an item at most. A bound for checks, beyond any vocabulary in use.
    public static let mostCandidates = 1 << 20

    /// Errors: `.data` naming the item if it cannot have so many candidates.
    public static func check<Count: BinaryInteger>(candidateCount count: Count, item: Int) throws(PruneError) {
        guard count >= 2, count <= mostCandidates else {
            throw PruneError(.data, "item \(item) has \(count) candidates; it must have 2 to \(mostCandidates)")
        }
    }

    /// Errors: `.data` naming the item if `part` of it cannot have that length.
    public static func check<Length: BinaryInteger>(length: Length, of part: String, item: Int) throws(PruneError) {
        guard length >= 1, length <= TokenData.longestSequence else {
            throw PruneError(
                .data, "item \(item): \(part) has length \(length); it must be 1 to \(TokenData.longestSequence) tokens"
            )
        }
    }

    /// Whether every candidate is a single token, so that one hidden state predicts them all.
    var isSingleToken: Bool { candidates.allSatisfy { $0.count == 1 } }

    /// Tokens of the sequences that the item is computed as.
    var sequenceTokens: Int {
        isSingleToken ? context.count + 1 : candidates.reduce(0) { $0 + context.count + $1.count }
    }

    /// Errors: `.data` naming the item and what is wrong with it.
    fileprivate func check(item: Int) throws(PruneError) {
        try Self.check(length: context.count, of: "the context", item: item)
        try Self.check(candidateCount: candidates.count, item: item)
        for (index, candidate) in candidates.enumerated() {
            try Self.check(length: candidate.count, of: "candidate \(index)", item: item)
            try Self.check(length: context.count + candidate.count, of: "context and candidate \(index)", item: item)
        }
        guard candidates.indices.contains(answer) else {
            throw PruneError(
                .data, "item \(item): the answer is \(answer), but its candidates are 0 to \(candidates.count - 1)")
        }
        if let bad = context.first(where: { $0 < 0 }) ?? candidates.joined().first(where: { $0 < 0 }) {
            throw PruneError(.data, "item \(item): token id \(bad) is negative")
        }
    }
}

/// What makes the score of a candidate. The raw values are those of `PRUNE_CHOICE_SCORE_*`.
public enum ChoiceScore: Int32, Sendable {
    /// Its log-likelihood after the context.
    case sum = 0
    /// The same divided by its number of tokens.
    case mean = 1
}

/// Multiple-choice items that lie in the sequences of a data set. Candidates are counted through all items in order.
public struct ChoiceItems: Sendable {
    public let score: ChoiceScore
    /// The right candidate of each item, counted within it.
    public let answers: [Int]
    /// Item i has the candidates `itemOffsets[i] ..< itemOffsets[i + 1]`.
    private let itemOffsets: [Int]
    /// Candidate c has the tokens `tokens[tokenOffsets[c] ..< tokenOffsets[c + 1]]`.
    private let tokens: [Int32]
    private let tokenOffsets: [Int]
    /// Where, in the tokens of the data, the first token of each candidate is predicted.
    private let predictors: [Int]
    /// Sequence s of the data predicts the candidates `sequenceOffsets[s] ..< sequenceOffsets[s + 1]`.
    private let sequenceOffsets: [Int]

    public var itemCount: Int { answers.count }
    public var candidateCount: Int { predictors.count }

    public func candidates(ofItem item: Int) -> Range<Int> { itemOffsets[item]..<itemOffsets[item + 1] }

    /// The candidates that a batch predicts. Those of an item may lie in several batches; none lies in two.
    func candidates(in batch: TokenBatch) -> Range<Int> {
        sequenceOffsets[batch.sequences.lowerBound]..<sequenceOffsets[batch.sequences.upperBound]
    }

    func tokens(ofCandidate candidate: Int) -> ArraySlice<Int32> {
        tokens[tokenOffsets[candidate]..<tokenOffsets[candidate + 1]]
    }

    /// The row of a batch that predicts the first token of a candidate in it; the next ones predict the others.
    func firstRow(ofCandidate candidate: Int, in batch: TokenBatch) -> Int {
        predictors[candidate] - batch.tokens.lowerBound
    }

    /// Checks the candidates against a vocabulary: not all of their tokens need be in a sequence.
    ///
    /// Errors: `.data` naming item, candidate and id.
    func check(vocabulary: Int) throws(PruneError) {
        guard tokens.contains(where: { $0 >= vocabulary }) else { return }
        for item in 0..<itemCount {
            let own = candidates(ofItem: item)
            for candidate in own {
                guard let bad = tokens(ofCandidate: candidate).first(where: { $0 >= vocabulary }) else { continue }
                throw PruneError(
                    .data,
                    """
                    item \(item): token id \(bad) of candidate \(candidate - own.lowerBound) is outside the vocabulary \
                    of \(vocabulary); tokenise with this model's tokenizer
                    """)
            }
        }
    }

    /// Where some items lie in the sequences that `TokenData` makes of them.
    fileprivate init(_ items: [ChoiceItem], score: ChoiceScore) {
        var itemOffsets = [0]
        var tokenOffsets = [0]
        var sequenceOffsets = [0]
        var tokens: [Int32] = []
        var predictors: [Int] = []
        var place = 0
        for item in items {
            let single = item.isSingleToken
            for (index, candidate) in item.candidates.enumerated() {
                predictors.append(place + item.context.count - 1)
                tokens += candidate
                tokenOffsets.append(tokens.count)
                // The candidates of single tokens share a sequence, which ends with the last of them.
                if single, index < item.candidates.count - 1 { continue }
                place += item.context.count + candidate.count
                sequenceOffsets.append(predictors.count)
            }
            itemOffsets.append(predictors.count)
        }
        self.score = score
        answers = items.map(\.answer)
        self.itemOffsets = itemOffsets
        self.tokens = tokens
        self.tokenOffsets = tokenOffsets
        self.predictors = predictors
        self.sequenceOffsets = sequenceOffsets
    }
}

extension TokenData {
    /// Multiple-choice items as data.
    ///
    /// An item whose candidates are single tokens becomes one sequence: the context and the right candidate. The last
    /// token of the context predicts every candidate, and the right one stands there to be predicted by calls that do
    /// not know of choices. Other items become one sequence per candidate: the context and the candidate. Tokens of right
    /// candidates weigh 1, all others 0.
    ///
    /// Errors: `.data` naming the item; `.memory`.
    public convenience init(_ items: [ChoiceItem], score: ChoiceScore = .sum) throws(PruneError) {
        guard !items.isEmpty else { throw PruneError(.data, "no item in the multiple-choice data; give at least one") }
        // A context is repeated for each of its candidates, so the sequences may be far larger than the items.
        let most = Memory.free / (MemoryLayout<Int32>.stride + MemoryLayout<Float>.stride)
        var count = 0
        for (index, item) in items.enumerated() {
            try item.check(item: index)
            // Cannot overflow: an item adds less than 2^46, and memory holds far fewer tokens than 2^62.
            count += item.sequenceTokens
            guard count <= most else {
                throw PruneError(
                    .memory, "the sequences of items 0 to \(index) have \(count) tokens, more than fit the free memory")
            }
        }
        let candidates = items.reduce(0) { $0 + $1.candidates.count }
        let own = items.reduce(0) { $0 + $1.candidates.reduce(0) { $0 + $1.count } }
        try Memory.require(
            (count + own).times(clamping: 12).plus(clamping: candidates.times(clamping: 96) + items.count * 32),
            for: "\(items.count) items of \(count) tokens", "give fewer at a time")
        var tokens: [Int32] = []
        var weights: [Float] = []
        var lengths: [Int] = []
        tokens.reserveCapacity(count)
        weights.reserveCapacity(count)
        for item in items {
            let single = item.isSingleToken
            for (index, candidate) in item.candidates.enumerated() where index == item.answer || !single {
                tokens += item.context
                tokens += candidate
                weights += repeatElement(0, count: item.context.count)
                weights += repeatElement(index == item.answer ? 1 : 0, count: candidate.count)
                lengths.append(item.context.count + candidate.count)
            }
        }
        try self.init(
            tokens: tokens, lengths: lengths, weights: weights, choices: ChoiceItems(items, score: score))
    }
}
