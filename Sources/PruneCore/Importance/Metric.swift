// SPDX-License-Identifier: Apache-2.0
/// A measure of how much a unit matters; higher = more important. The raw values are the bits of `PRUNE_METRIC_*`.
///
/// With h the hidden state before the unit, g the one after it and u = g - h, per token; then the mean over tokens.
public enum Metric: UInt64, CaseIterable, Sendable {
    /// 1 - cos(h, g): block influence (ShortGPT, arXiv 2403.03853).
    case cosine = 1
    /// arccos(cos(h, g)) / pi (arXiv 2403.17887).
    case angular = 2
    /// ||u||_1
    case l1 = 4
    /// ||u||_2
    case l2 = 8
    /// ||u||_1 / ||h||_1, or / ||g||_1
    case relativeL1 = 16
    /// ||u||_2 / ||h||_2, or / ||g||_2
    case relativeL2 = 32
    /// Sum of |w| over the unit's matrices (Shortened LLaMA, arXiv 2402.02834).
    case magnitude = 64
    /// Loss without the unit - loss with it.
    case leaveOneOutLoss = 128
    /// Mean over predicting tokens of ||logits with - logits without||_2 (arXiv 2407.16286).
    case leaveOneOutLogitL2 = 256
    /// Sum of |w * d(loss)/dw| over the unit's matrices, the loss that of the whole data set (Shortened LLaMA,
    /// arXiv 2402.02834): neither static nor leave-one-out, but one pass forward and one backward.
    case taylor = 512

    /// Those that come from the hidden states of one forward pass.
    public static let ofStates: [Metric] = [.cosine, .angular, .l1, .l2, .relativeL1, .relativeL2]
    /// Those that need no mask evaluated.
    public static let allStatic: [Metric] = ofStates + [.magnitude]
    public static let allLeaveOneOut: [Metric] = [.leaveOneOutLoss, .leaveOneOutLogitL2]
}

/// The hidden state whose norm divides the relative metrics. The raw values are those of `PRUNE_RELATIVE_TO_*`.
public enum RelativeTo: Int32, Sendable {
    case input = 0
    case output = 1
}

/// The tokens that static metrics look at. The raw values are those of `PRUNE_TOKENS_*`.
public enum TokenSelection: Int32, Sendable {
    case all = 0
    /// The last token of each sequence.
    case last = 1
}
