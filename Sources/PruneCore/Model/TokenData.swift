// SPDX-License-Identifier: Apache-2.0
/// Token sequences: what a model is scored and evaluated on. Immutable.
public final class TokenData: Sendable {
    /// Tokens of a sequence at most: far beyond any context, and small enough that no product of sizes overflows.
    public static let longestSequence = 1 << 24

    /// All sequences, one after the other.
    public let tokens: [Int32]
    /// Sequence s is `tokens[offsets[s] ..< offsets[s + 1]]`.
    public let offsets: [Int]
    /// How much the loss of predicting each token counts; nil = 1 for all.
    public let weights: [Float]?
    /// The multiple-choice items that the sequences belong to; nil = none.
    public let choices: ChoiceItems?

    public var sequenceCount: Int { offsets.count - 1 }

    /// Errors: `.data` if there is no sequence, one is empty or too long, an id is negative, or a weight is negative or
    /// not finite. The lengths must add up to the count of tokens.
    public convenience init(tokens: [Int32], lengths: [Int], weights: [Float]?) throws(PruneError) {
        try self.init(tokens: tokens, lengths: lengths, weights: weights, choices: nil)
    }

    /// As above; `choices` lie in the sequences where they say.
    init(tokens: [Int32], lengths: [Int], weights: [Float]?, choices: ChoiceItems?) throws(PruneError) {
        let count = try Self.tokenCount(ofLengths: lengths)
        guard count == tokens.count else {
            throw PruneError(.argument, "sequence lengths add up to \(count), but there are \(tokens.count) tokens")
        }
        try Memory.require(lengths.count.times(clamping: 8), for: "\(lengths.count) sequences", "give fewer at a time")
        var offsets = [0]
        offsets.reserveCapacity(lengths.count + 1)
        for (sequence, length) in lengths.enumerated() { offsets.append(offsets[sequence] + length) }
        self.tokens = tokens
        self.offsets = offsets
        self.weights = weights
        self.choices = choices
        if let bad = tokens.firstIndex(where: { $0 < 0 }) {
            throw PruneError(.data, "token id \(tokens[bad]) at \(place(of: bad)) is negative")
        }
        if let weights, let bad = weights.firstIndex(where: { !($0.isFinite && $0 >= 0) }) {
            throw PruneError(.data, "token weight \(weights[bad]) at \(place(of: bad)) must be finite and not negative")
        }
    }

    /// The sum of some sequence lengths. Errors: `.data` if there is none, or one is not 1 ... `longestSequence`.
    public static func tokenCount<Length: BinaryInteger>(ofLengths lengths: [Length]) throws(PruneError) -> Int {
        guard !lengths.isEmpty else { throw PruneError(.data, "no sequence in the data; give at least one") }
        var count = 0
        for (sequence, length) in lengths.enumerated() {
            guard length >= 1, length <= longestSequence else {
                throw PruneError(
                    .data, "sequence \(sequence) has length \(length); it must be 1 to \(longestSequence) tokens")
            }
            // Cannot overflow: memory holds fewer than 2^38 lengths, each at most 2^24.
            count += Int(length)
        }
        return count
    }

    /// "sequence 3, position 17" for an index into `tokens`.
    func place(of token: Int) -> String {
        let sequence = (offsets.firstIndex { $0 > token } ?? 1) - 1
        return "sequence \(sequence), position \(token - offsets[sequence])"
    }

    /// Cuts the data into batches of at most `maximum` tokens; a longer sequence is a batch of its own.
    public func batches(of maximum: Int) -> [TokenBatch] {
        var batches: [TokenBatch] = []
        var first = 0
        for sequence in 0..<sequenceCount where offsets[sequence + 1] - offsets[first] > maximum && sequence > first {
            batches.append(TokenBatch(self, first..<sequence))
            first = sequence
        }
        batches.append(TokenBatch(self, first..<sequenceCount))
        return batches
    }

    /// Tokens that are computed together if the caller does not say: enough to keep matrix products busy.
    public static let usualBatch = 2048
}

/// Some sequences of a data set, to be computed together. One row of a hidden state belongs to each token.
public final class TokenBatch: Sendable {
    public let data: TokenData
    /// The sequences of `data` in this batch.
    public let sequences: Range<Int>

    init(_ data: TokenData, _ sequences: Range<Int>) {
        self.data = data
        self.sequences = sequences
    }

    /// The tokens of `data` in this batch; row r is token `tokens.lowerBound + r`.
    public var tokens: Range<Int> { data.offsets[sequences.lowerBound]..<data.offsets[sequences.upperBound] }
    public var rowCount: Int { tokens.count }

    /// The rows of a sequence of `data`.
    public func rows(ofSequence sequence: Int) -> Range<Int> {
        data.offsets[sequence] - tokens.lowerBound..<data.offsets[sequence + 1] - tokens.lowerBound
    }

    /// The rows that predict a token of their own sequence. With `weighted`, only those whose token counts.
    public func predictingRows(weighted: Bool) -> [Int] {
        var result: [Int] = []
        result.reserveCapacity(rowCount)
        for sequence in sequences {
            for row in rows(ofSequence: sequence).dropLast() {
                if weighted, let weights = data.weights, weights[tokens.lowerBound + row + 1] == 0 { continue }
                result.append(row)
            }
        }
        return result
    }

    /// The tokens that follow some rows in their sequences; each has one.
    func followers(of rows: [Int]) -> [Int32] { rows.map { data.tokens[tokens.lowerBound + $0 + 1] } }

    /// The last row of each sequence.
    public var lastRows: [Int] { sequences.map { rows(ofSequence: $0).upperBound - 1 } }

    /// Checks the ids against a vocabulary. Errors: `.data` naming id, sequence and position.
    func check(vocabulary: Int) throws(PruneError) {
        if let bad = tokens.first(where: { data.tokens[$0] >= vocabulary }) {
            throw PruneError(
                .data,
                "token id \(data.tokens[bad]) at \(data.place(of: bad)) is outside the vocabulary of \(vocabulary); tokenise with this model's tokenizer"
            )
        }
    }
}
