extension TokenData {
    /// The smallest pieces that a data set can be scored on: its items, if it has choices, else its sequences.
    var partCount: Int { choices?.itemCount ?? sequenceCount }

    /// One such piece as a data set of its own.
    func part(_ index: Int) throws(PruneError) -> TokenData {
        guard let choices else {
            let rows = offsets[index]..<offsets[index + 1]
            return try TokenData(
                tokens: Array(tokens[rows]), lengths: [rows.count], weights: weights.map { Array($0[rows]) })
        }
        let own = choices.candidates(ofItem: index)
        let whole = TokenBatch(self, 0..<sequenceCount)
        let last = choices.firstRow(ofCandidate: own.lowerBound, in: whole)
        let start = offsets[(offsets.firstIndex { $0 > last } ?? 1) - 1]
        let item = ChoiceItem(
            context: Array(tokens[start...last]), candidates: own.map { Array(choices.tokens(ofCandidate: $0)) },
            answer: choices.answers[index])
        return try TokenData([item], score: choices.score)
    }
}
