// SPDX-License-Identifier: Apache-2.0
/// Which sequences each step of a training takes: epoch after epoch in an order of its own, drawn by seed.
struct TrainingBatches: Sendable {
    /// Sequences that say something, ascending.
    let sequences: [Int]
    private let lengths: [Int]
    private let size: Size
    private let seed: UInt64
    /// The epoch that `order` is of.
    private var epoch = -1
    private var order: [Int] = []

    /// How much a step takes.
    private enum Size: Sendable {
        case tokens(Int)
        case sequences(Int)
    }

    /// Steps of as many sequences as stay within a number of tokens, and one at least.
    ///
    /// - Parameter sequences: not empty.
    init(_ data: TokenData, _ sequences: [Int], stepTokens: Int, seed: UInt64) {
        self.sequences = sequences
        let lengths = sequences.map { data.offsets[$0 + 1] - data.offsets[$0] }
        self.lengths = lengths
        // All of them once are as much as a step can learn from: more would weigh none of them differently.
        size = .tokens(min(stepTokens, lengths.reduce(0, +)))
        self.seed = seed
    }

    /// Steps of a number of sequences.
    ///
    /// - Parameter sequences: not empty.
    init(_ sequences: [Int], stepSequences: Int, seed: UInt64) {
        self.sequences = sequences
        lengths = []
        size = .sequences(min(stepSequences, sequences.count))
        self.seed = seed
    }

    /// The sequences of a step, in the order drawn.
    ///
    /// - Parameter used: sequences taken by the steps before, repetitions counted; grows by those of this one.
    mutating func next(after used: inout Int) -> [Int] {
        switch size {
        case .tokens(let most): return next(after: &used, within: most)
        case .sequences(let count):
            var taken: [Int] = []
            for place in used..<used + count { taken.append(sequences[entry(place)]) }
            used += count
            return taken
        }
    }

    private mutating func next(after used: inout Int, within stepTokens: Int) -> [Int] {
        var taken: [Int] = []
        var tokens = 0
        while true {
            let place = entry(used)
            guard taken.isEmpty || lengths[place] <= stepTokens - tokens else { return taken }
            taken.append(sequences[place])
            // Cannot overflow: the sum stays within `stepTokens`, or is one length.
            tokens += lengths[place]
            used += 1
            if tokens >= stepTokens { return taken }
        }
    }

    /// The place in `sequences` of the one that comes after `used` others.
    private mutating func entry(_ used: Int) -> Int {
        let own = used / sequences.count
        if own != epoch {
            var random = RandomSource(seed: seed, stream: Self.firstStream + UInt64(own))
            order = random.permutation(sequences.count)
            epoch = own
        }
        return order[used % sequences.count]
    }

    /// Random streams of the epochs follow this one; those below are for the split and the first weights.
    private static let firstStream: UInt64 = 1 << 32
}
