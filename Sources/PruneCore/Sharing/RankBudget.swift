// SPDX-License-Identifier: Apache-2.0
/// What one direction more of a weight's delta would win and cost.
struct RankChoice: Sendable {
    /// Squares of singular values, largest first, each over the square of the weight's whole output.
    let gains: [Double]
    /// Bytes of a direction: one column of U and one row of V.
    let bytesPerRank: Int
}

/// Ranks within a budget of bytes, by error won per byte, greedily; ties go to the earlier weight.
///
/// The gains of a weight fall from one rank to the next, so that the greedy choice is the best one but for what is left of the
/// budget at the end.
func ranks(_ choices: [RankChoice], within bytes: Int) -> [Int] {
    var steps: [(worth: Double, weight: Int)] = []
    for (weight, own) in choices.enumerated() {
        for gain in own.gains where gain > 0 { steps.append((gain / Double(max(own.bytesPerRank, 1)), weight)) }
    }
    let order = steps.indices.sorted { (-steps[$0].worth, $0) < (-steps[$1].worth, $1) }
    var ranks = [Int](repeating: 0, count: choices.count)
    var isFull = [Bool](repeating: false, count: choices.count)
    var left = bytes
    for step in order {
        let weight = steps[step].weight
        // What does not fit now will not fit later either, and no later direction may come before it.
        guard !isFull[weight], choices[weight].bytesPerRank <= left else {
            isFull[weight] = true
            continue
        }
        ranks[weight] += 1
        left -= choices[weight].bytesPerRank
    }
    return ranks
}
