// SPDX-License-Identifier: Apache-2.0
/// What sliding layer merging found.
public struct MergeResult: Sendable {
    /// One look at a model with one more block merged.
    public struct Step: Sendable {
        /// The window of blocks that become one.
        public let low, high: Int
        /// Of the model with it and the windows above it.
        public let similarity: Double
        public let isAccepted: Bool
    }

    /// The merges, the topmost first.
    public let edits: [Edit]
    /// Without the blocks that were merged into others.
    public let mask: KeepMask
    /// Every look of the last pass, in order.
    public let steps: [Step]
    /// The threshold that the merges exceed.
    public let threshold: Double
    /// Of the model with all merges; 1 if there are none.
    public let similarity: Double
    /// Models with merged blocks that were run, in all passes.
    public let evaluated: Int

    /// As a JSON object: "mask" as a document of its own, "similarity", "threshold", "evaluated", and "steps" with "low",
    /// "high", "similarity" and "accepted".
    public func text() throws(PruneError) -> String {
        let steps = steps.map { step in
            JSONValue.object([
                "low": .integer(step.low), "high": .integer(step.high), "similarity": .number(step.similarity),
                "accepted": .bool(step.isAccepted),
            ])
        }
        return """
            {"mask": \(try MaskDocument.write(mask, edits: edits, provenance: nil)), \
            "similarity": \(JSONValue.number(similarity).text), "threshold": \(JSONValue.number(threshold).text), \
            "evaluated": \(evaluated), "steps": \(JSONValue.array(steps).text)}
            """
    }
}

/// Merges blocks from the top down while the model stays similar: sliding layer merging (arXiv 2502.19159), with the merge that
/// is pending when block 0 is reached made as any other.
///
/// Weights of the model are read, and nothing of it changes: the edits make the merged model.
/// Errors: `.argument` for options that do not fit; `.unsupported` if the weights are not the engine's own; `.memory`; `.data`;
/// `.nonFinite` if the model's own states are not finite; `.cancelled`.
public func mergeBlocks(
    _ model: any Model, _ data: TokenData, _ options: MergeOptions, progress: ProgressMeter.Listener? = nil
) throws(PruneError) -> MergeResult {
    guard let native = model as? NativeModel else {
        throw PruneError(
            .unsupported,
            "the blocks of this model cannot be merged: a host runs it, or it has adapters; open its checkpoint from files, without adapters"
        )
    }
    let blocks = native.shape.blockCount
    try options.check(blocks: blocks)
    let mayJoin = native.joints(protecting: options.protected ?? [blocks - 1])
    let most = mayJoin.count(where: \.self)
    if let remove = options.remove, remove > most {
        throw PruneError(
            .argument,
            "remove is \(remove), but \(most) blocks at most can be merged into others: the rest is protected, or differs in shape"
        )
    }
    // A threshold asks for each joint once; the search of one starts with half of them again and again.
    let passes = options.remove == nil ? 1 : thresholdPasses
    let meter = ProgressMeter(
        stage: "merge", total: MergeSimilarity.firstSteps(blocks: blocks) + passes * most, listener: progress)
    let similarity = try MergeSimilarity(native, data, options, meter)
    let search = MergePass(mayJoin: mayJoin, most: options.remove, similarity: similarity, meter: meter)
    let (threshold, found, steps) =
        try options.remove == nil ? search.pass(options.threshold) : search.highestThreshold()
    let removed = found.windows.flatMap { $0.dropFirst() }
    let mask = native.shape.present.removing(units: removed, .block)
    return MergeResult(
        edits: similarity.edits(found.windows), mask: mask, steps: steps, threshold: threshold,
        similarity: steps.last(where: \.isAccepted)?.similarity ?? 1, evaluated: similarity.evaluated)
}

/// Halvings of the interval from -1 to 1 in which a threshold is looked for: enough that those left differ by 4e-6.
private let thresholdPasses = 19

/// Passes over the blocks with one threshold each.
private struct MergePass {
    typealias Found = (threshold: Double, windows: SlidingWindows, steps: [MergeResult.Step])

    let mayJoin: [Bool]
    let most: Int?
    let similarity: MergeSimilarity
    let meter: ProgressMeter

    func pass(_ threshold: Double) throws(PruneError) -> Found {
        var steps: [MergeResult.Step] = []
        let found = try SlidingWindows(mayJoin: mayJoin, most: most ?? .max) {
            (windows, candidate) throws(PruneError) in
            let value = try similarity(windows, candidate, meter)
            try meter.advance()
            let accepted = value > threshold
            steps.append(
                .init(
                    low: candidate.lowerBound, high: candidate.upperBound, similarity: value, isAccepted: accepted))
            return accepted
        }
        return (threshold, found, steps)
    }

    /// The highest threshold at which `most` blocks go, as far as halving finds it: fewer go with higher ones as a rule, not
    /// always. Below -1, every merge is taken.
    func highestThreshold() throws(PruneError) -> Found {
        var (low, high) = (-1.0, 1.0)
        var best = try pass(-2)
        for _ in 1..<thresholdPasses {
            let middle = (low + high) / 2
            let found = try pass(middle)
            if found.windows.removed == most {
                (low, best) = (middle, found)
            } else {
                high = middle
            }
        }
        return best
    }
}

extension NativeModel {
    /// Whether block b may be merged with block b + 1, for every b but the last: both are there and whole, neither is
    /// protected, and their weights have the same shapes.
    fileprivate func joints(protecting blocks: Set<Int>) -> [Bool] {
        (0..<shape.blockCount - 1).map { block in
            !blocks.contains(block) && !blocks.contains(block + 1) && canMerge([block, block + 1])
        }
    }
}
