// SPDX-License-Identifier: Apache-2.0
/// Which sequences each step of a training takes: epoch after epoch in an order of its own, drawn by seed.
struct TrainingBatches: Sendable {
    /// Sequences that say something, ascending.
    let sequences: [Int]
    private let lengths: [Int]
    private let stepTokens: Int
    private let seed: UInt64
    /// The epoch that `order` is of.
    private var epoch = -1
    private var order: [Int] = []

    /// - Parameter sequences: not empty.
    init(_ data: TokenData, _ sequences: [Int], stepTokens: Int, seed: UInt64) {
        self.sequences = sequences
        let lengths = sequences.map { data.offsets[$0 + 1] - data.offsets[$0] }
        self.lengths = lengths
        // All of them once are as much as a step can learn from: more would weigh none of them differently.
        self.stepTokens = min(stepTokens, lengths.reduce(0, +))
        self.seed = seed
    }

    /// The sequences of a step, in the order drawn: as many as stay within the tokens of a step, and one at least.
    ///
    /// - Parameter used: sequences taken by the steps before, repetitions counted; grows by those of this one.
    mutating func next(after used: inout Int) -> [Int] {
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
