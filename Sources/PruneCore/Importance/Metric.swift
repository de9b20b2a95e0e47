// SPDX-License-Identifier: Apache-2.0
internal import CKernels

/// A measure of how important a unit is; higher = more important. The raw values are the bits of `PRUNE_METRIC_*`.
///
/// `facts` and `value` say all that the library knows of a metric. A new metric takes the next free bit.
public enum Metric: UInt64, CaseIterable, Sendable {
    case cosine = 1
    case angular = 2
    case l1 = 4
    case l2 = 8
    case relativeL1 = 16
    case relativeL2 = 32
    case magnitude = 64
    case leaveOneOutLoss = 128
    case leaveOneOutLogitL2 = 256
    case taylor = 512

    /// Name, formula and source. In the formulas h is the hidden state before the unit, g the one after it, u = g - h.
    public var facts: MetricFacts {
        switch self {
        // Block influence: ShortGPT, arXiv 2403.03853.
        case .cosine: MetricFacts("cosine", "1 - cos(h, g)", .states)
        // arXiv 2403.17887.
        case .angular: MetricFacts("angular", "arccos(cos(h, g)) / pi", .states)
        case .l1: MetricFacts("l1", "||u||_1", .states)
        case .l2: MetricFacts("l2", "||u||_2", .states)
        case .relativeL1: MetricFacts("relative_l1", "||u||_1 / ||h||_1, or / ||g||_1", .statesRelative)
        case .relativeL2: MetricFacts("relative_l2", "||u||_2 / ||h||_2, or / ||g||_2", .statesRelative)
        // Shortened LLaMA, arXiv 2402.02834.
        case .magnitude: MetricFacts("magnitude", "sum of |w| over the unit's matrices", .weights)
        case .leaveOneOutLoss:
            MetricFacts("leave_one_out_loss", "loss without the unit - loss with it", .leaveOneOut)
        // arXiv 2407.16286.
        case .leaveOneOutLogitL2:
            MetricFacts("leave_one_out_logit_l2", "mean of ||logits with - logits without||_2", .leaveOneOut)
        // Shortened LLaMA, arXiv 2402.02834; the loss is that of the whole data set.
        case .taylor: MetricFacts("taylor", "sum of |w * d(loss)/dw| over the unit's matrices", .gradients)
        }
    }

    /// The value at one token of a metric of states; NaN for the others. The score is the mean over tokens.
    ///
    /// Inlined into the loop over tokens: closures in `facts` would take as long as the rest of the loop.
    @inline(__always)
    func value(_ token: TokenNorms) -> Double {
        switch self {
        case .cosine: token.cosineDistance
        case .angular: angularDistance(cosineDistance: token.cosineDistance)
        case .l1: token.update.absolutes
        case .l2: token.update.squares.squareRoot()
        case .relativeL1: token.update.absolutes / token.divisor.absolutes
        case .relativeL2: (token.update.squares / token.divisor.squares).squareRoot()
        case .magnitude, .leaveOneOutLoss, .leaveOneOutLogitL2, .taylor: .nan
        }
    }

    /// Those that come from the hidden states of one forward pass.
    public static let ofStates = allCases.filter(\.facts.isOfStates)
    /// Those that need no mask evaluated and no gradient.
    public static let allStatic = allCases.filter(\.facts.isStatic)
    public static let allLeaveOneOut: [Metric] = [.leaveOneOutLoss, .leaveOneOutLogitL2]
}

/// What is known of a metric: its name in every language, its formula, and what it is computed from.
public struct MetricFacts: Sendable {
    public let name: String
    public let formula: String
    let source: Source

    enum Source: Sendable {
        /// The norms of the states at each token: see `Metric.value`.
        case states
        /// The same, relative to the norm of h or of g. Tokens where that is zero are left out of the mean.
        case statesRelative
        case weights
        case leaveOneOut
        case gradients
    }

    init(_ name: String, _ formula: String, _ source: Source) {
        self.name = name
        self.formula = formula
        self.source = source
    }

    /// Whether it comes from the hidden states of one forward pass: statistics hold it.
    public var isOfStates: Bool { source == .states || source == .statesRelative }
    public var isStatic: Bool { isOfStates || source == .weights }
    public var needsData: Bool { source != .weights }
    public var needsWeights: Bool { source == .weights || source == .gradients }
    public var needsGradients: Bool { source == .gradients }
}

/// Norms at one token: of the states h before and g after a unit, and of u = g - h.
struct TokenNorms {
    let before: kernel_norms
    let after: kernel_norms
    let update: kernel_norms
    /// The state that a relative metric divides by: h or g.
    var divisor: kernel_norms
    /// 1 - cos(h, g).
    let cosineDistance: Double

    @inline(__always)
    init(before h: kernel_norms, after g: kernel_norms, update u: kernel_norms) {
        (before, after, update, divisor) = (h, g, u, h)
        cosineDistance = PruneCore.cosineDistance(squares: h.squares, g.squares, ofDifference: u.squares)
    }
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
