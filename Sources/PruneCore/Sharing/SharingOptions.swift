// SPDX-License-Identifier: Apache-2.0
/// Which earlier sublayer's weights a sublayer uses. The raw values are those of `PRUNE_BASE_*`.
public enum SharingBase: Int32, Sendable {
    /// The nearest one of its kind that is kept.
    case nearest = 0
    /// The one of its kind that is kept whose weights are nearest to its own once the delta is added.
    case best = 1
}

/// How weights are shared.
public struct SharingOptions: Sendable {
    /// The usual rank of a delta.
    public static let usualRank = 16

    public var base = SharingBase.nearest
    /// Whether each base gets a factor, fitted by least squares: where weights have little in common, it is near 0.
    public var scaled = false
    /// Bytes of all deltas together, which go where they win most; nil = `AdapterOptions.rank` for each.
    public var bytes: Int?
    /// Progressive module replacement (DeltaLLM, arXiv 2501.18596; Xu et al., arXiv 2002.02925): in the first step of training
    /// each shared sublayer computes with its delta with this probability, else as the full model does.
    public var firstShare = 0.5
    /// The share of all steps over which the probability rises to 1.
    public var ramp = 0.5

    public init() {}

    /// Errors: `.argument`, naming the option out of range.
    func check() throws(PruneError) {
        if let bytes, bytes < 1 { throw PruneError(.argument, "bytes is \(bytes); it must be at least 1") }
        for (name, share) in [("first_share", firstShare), ("ramp", ramp)] {
            guard share >= 0, share <= 1 else {
                throw PruneError(.argument, "\(name) is \(share); it must be from 0 to 1")
            }
        }
    }

    /// The probability at a step, 1 ... steps.
    func probability(atStep step: Int, of steps: Int) -> Double {
        let rising = ramp * Double(steps)
        guard Double(step - 1) < rising else { return 1 }
        return firstShare + (1 - firstShare) * Double(step - 1) / rising
    }
}

extension AdapterOptions {
    /// Errors: `.argument`, naming the option out of range. A rank beyond that of a weight is that of the weight.
    func checkForSharing() throws(PruneError) {
        if let rank, rank < 1 { throw PruneError(.argument, "rank is \(rank); it must be at least 1") }
        var others = self
        others.kind = .bias
        try others.check(hiddenSize: 1)
    }
}

/// What sharing made, beside the model.
public struct SharingReport: Sendable {
    /// How training went; its `statisticsTokens` are those of the closed form, too.
    public var training = RecoveryReport()
    /// Bytes of the weights that became deltas, and of the deltas.
    public var bytesWhole = 0
    public var bytesShared = 0
}
