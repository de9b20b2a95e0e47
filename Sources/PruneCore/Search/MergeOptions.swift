// SPDX-License-Identifier: Apache-2.0
/// What sliding layer merging is asked for: which blocks may go, and how much of the model may change.
public struct MergeOptions: Sendable {
    /// Similarity that every merge must exceed. Unused with `remove`.
    public var threshold = 0.7
    /// f of the merge.
    public var weight = 1.0
    public var rule = BlockMerge.Rule.running
    /// Blocks that are in no merge; nil = the last one alone.
    public var protected: Set<Int>?
    /// Blocks to remove: the threshold is then the highest that removes as many. nil = as many as the threshold lets.
    public var remove: Int?
    public var batchTokens = TokenData.usualBatch
    /// Bytes for hidden states of the whole model at most; nil = a quarter of the memory that is free. Results do not depend
    /// on it.
    public var memoryBudget: Int?

    public init() {}

    /// Errors: `.argument` for a value that is none.
    func check(blocks: Int) throws(PruneError) {
        guard threshold >= -1, threshold < 1 else {
            throw PruneError(.argument, "threshold is \(threshold); it must be from -1 to below 1: it is a cosine")
        }
        guard weight.isFinite else { throw PruneError(.argument, "weight is \(weight); it must be finite") }
        if let bad = protected?.first(where: { !(0..<blocks).contains($0) }) {
            throw PruneError(.argument, "protected block \(bad) does not exist: the model has \(blocks), from 0")
        }
        if let remove, remove < 1 { throw PruneError(.argument, "remove is \(remove); it must be at least 1") }
    }
}
