// SPDX-License-Identifier: Apache-2.0
extension TokenData {
    /// Some of the sequences as a data set of their own, in the order given.
    ///
    /// - Parameter sequences: not empty; without their choices.
    func selecting(_ sequences: [Int]) throws(PruneError) -> TokenData {
        let count = sequences.reduce(0) { $0.plus(clamping: offsets[$1 + 1] - offsets[$1]) }
        try Memory.require(
            count.times(clamping: 8).plus(clamping: sequences.count.times(clamping: 24)), for: "\(count) tokens",
            "give fewer sequences")
        var tokens: [Int32] = []
        tokens.reserveCapacity(count)
        var weights: [Float]? = self.weights == nil ? nil : []
        weights?.reserveCapacity(count)
        for sequence in sequences {
            let range = offsets[sequence]..<offsets[sequence + 1]
            tokens += self.tokens[range]
            if let own = self.weights { weights?.append(contentsOf: own[range]) }
        }
        return try TokenData(
            tokens: tokens, lengths: sequences.map { offsets[$0 + 1] - offsets[$0] }, weights: weights)
    }

    /// Sequences with a token to predict that counts, ascending.
    var predictingSequences: [Int] {
        (0..<sequenceCount).filter { !TokenBatch(self, $0..<$0 + 1).predictingRows(weighted: true).isEmpty }
    }

    /// Keeps a share of the sequences aside, drawn by seed: one at least, and one is left at least. Only sequences with a
    /// token to predict count for either.
    ///
    /// Errors: `.data` if there are fewer than two of them.
    func split(share: Double, seed: UInt64) throws(PruneError) -> (rest: TokenData, heldOut: TokenData) {
        try Memory.require(
            sequenceCount.times(clamping: 96), for: "a split of \(sequenceCount) sequences", "give fewer")
        let own = predictingSequences
        guard own.count >= 2 else {
            throw PruneError(
                .data,
                "\(own.count) of the sequences have a token to predict; give two at least, so that one can be held out, or held_out"
            )
        }
        var random = RandomSource(seed: seed, stream: 0)
        let count = min(max(1, Int((share * Double(own.count)).rounded())), own.count - 1)
        let aside = Set(random.permutation(own.count).prefix(count).map { own[$0] })
        return (
            rest: try selecting(own.filter { !aside.contains($0) }), heldOut: try selecting(own.filter(aside.contains))
        )
    }
}
