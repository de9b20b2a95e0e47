// SPDX-License-Identifier: Apache-2.0
/// The angular distance over every window of contiguous blocks, as running sums over tokens (arXiv 2403.17887, which
/// takes the last token of each sequence; here it is whichever tokens are given).
struct WindowStatistics: Sendable {
    let blockCount: Int
    private(set) var tokens = 0
    /// Entry (n - 1) * blockCount + i: window of n blocks from block i on.
    private var sums: [Double]

    init(blocks: Int) {
        blockCount = blocks
        sums = Array(repeating: 0, count: blocks * blocks)
    }

    /// Adds one token with its hidden states at the blockCount + 1 block boundaries.
    mutating func add(_ boundaries: [UnsafePointer<Float>], width: Int) {
        let squares = boundaries.map { Kernels.dot($0, $0, width) }
        for first in 0..<blockCount {
            for last in first + 1...blockCount {
                let dot = Kernels.dot(boundaries[first], boundaries[last], width)
                let cosine = cosineSimilarity(dot: dot, squares: squares[first], squares[last])
                sums[(last - first - 1) * blockCount + first] += angularDistance(cosine)
            }
        }
        tokens += 1
    }

    mutating func merge(_ other: WindowStatistics) {
        tokens += other.tokens
        for index in sums.indices { sums[index] += other.sums[index] }
    }

    /// Means over tokens, row n - 1 and column i; NaN where the window leaves the model.
    var distances: [Double] {
        (0..<blockCount * blockCount).map { index in
            let (row, first) = index.quotientAndRemainder(dividingBy: blockCount)
            return first + row + 1 <= blockCount ? sums[index] / Double(max(tokens, 1)) : .nan
        }
    }
}
