// SPDX-License-Identifier: Apache-2.0
/// The order in which sliding layer merging (arXiv 2502.19159) tries blocks: a window grows downwards from its top block while
/// the model stays similar, then the next one begins with the block that did not fit.
///
/// Blocks of a window become one, so that a window of n removes n - 1. In the released code, windows that reach block 0 are
/// lost; here the last one counts as any other.
struct SlidingWindows {
    /// Merged windows, the topmost first, each of two blocks or more.
    private(set) var windows: [ClosedRange<Int>] = []

    var removed: Int { windows.reduce(0) { $0 + $1.count - 1 } }

    /// - Parameters:
    ///   - mayJoin: whether block b may be merged with block b + 1, for b from 0.
    ///   - most: blocks to remove at most.
    ///   - accept: whether the model with the windows so far, and this one besides, is similar enough.
    init(
        mayJoin: [Bool], most: Int = .max,
        accept: (_ windows: [ClosedRange<Int>], _ candidate: ClosedRange<Int>) throws(PruneError) -> Bool
    ) throws(PruneError) {
        var high = mayJoin.count
        while high > 0 {
            var low = high
            while low > 0, mayJoin[low - 1], removed + high - low < most, try accept(windows, low - 1...high) {
                low -= 1
            }
            if low < high { windows.append(low...high) }
            high = low - 1
        }
    }
}
