// SPDX-License-Identifier: Apache-2.0
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
        return try TokenData([item(index, of: choices)], score: choices.score)
    }

    /// The first pieces, as many as make up a share of all: at least one, and so many that there is something to predict.
    func first(_ share: Double) throws(PruneError) -> TokenData {
        guard share < 1 else { return self }
        try Memory.require(
            tokens.count.times(clamping: 16).plus(clamping: sequenceCount.times(clamping: 128)),
            for: "a part of the data",
            "give fewer sequences")
        var count = min(partCount, max(1, Int((share * Double(partCount)).rounded(.up))))
        if let choices {
            return try TokenData((0..<count).map { item($0, of: choices) }, score: choices.score)
        }
        while count < partCount, TokenBatch(self, 0..<count).predictingRows(weighted: true).isEmpty { count += 1 }
        let rows = 0..<offsets[count]
        return try TokenData(
            tokens: Array(tokens[rows]), lengths: (0..<count).map { offsets[$0 + 1] - offsets[$0] },
            weights: weights.map { Array($0[rows]) })
    }

    private func item(_ index: Int, of choices: ChoiceItems) -> ChoiceItem {
        let own = choices.candidates(ofItem: index)
        let whole = TokenBatch(self, 0..<sequenceCount)
        let last = choices.firstRow(ofCandidate: own.lowerBound, in: whole)
        let start = offsets[(offsets.firstIndex { $0 > last } ?? 1) - 1]
        return ChoiceItem(
            context: Array(tokens[start...last]), candidates: own.map { Array(choices.tokens(ofCandidate: $0)) },
            answer: choices.answers[index])
    }
}
