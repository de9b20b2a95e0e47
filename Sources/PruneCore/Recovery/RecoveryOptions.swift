// SPDX-License-Identifier: Apache-2.0
/// What adapters are made to bring near the full model. The raw values are those of `PRUNE_OBJECTIVE_*`.
public enum RecoveryObjective: Int32, Sendable, CaseIterable {
    /// Least squares of each update alone, solved, not trained.
    case closedForm = 0
    /// Mean squared difference of the last hidden state to the full model's, relative to the latter's mean square.
    case mse = 1
    /// Loss of the tokens that follow.
    case crossEntropy = 2
    /// KL(full model || recovered model) of the next-token distributions.
    case kl = 3
    /// Jensen-Shannon divergence of the two.
    case js = 4

    public var name: String {
        switch self {
        case .closedForm: "closed_form"
        case .mse: "mse"
        case .crossEntropy: "ce"
        case .kl: "kl"
        case .js: "js"
        }
    }
}

/// The hidden states that the closed form learns from. The raw values are those of `PRUNE_STREAM_*`.
public enum RecoveryStream: Int32, Sendable {
    /// One sublayer after the other along the model as it is pruned and already recovered: see `RecoveredStream`.
    case recovered = 0
    /// The full model's: one pass for all sublayers.
    case fullModel = 1
}

/// What the matrix of an adapter is applied to. The raw values are those of `PRUNE_INPUT_*`.
public enum AdapterInput: Int32, Sendable {
    /// norm(h), with the norm of the sublayer that is emulated.
    case normed = 0
    /// h
    case raw = 1
}

/// Where training starts. The raw values are those of `PRUNE_START_*`.
public enum RecoveryStart: Int32, Sendable {
    case closedForm = 0
    /// Adapters that add nothing.
    case zero = 1
}

/// Which sublayers of a removed block get an adapter. The raw values are those of `PRUNE_SLOT_*`.
public enum BlockSlot: Int32, Sendable {
    /// One that emulates the block, in the place of its attention.
    case attention = 0
    /// One that emulates the block, in the place of its feed-forward.
    case feedForward = 1
    /// One for each of its sublayers.
    case both = 2
}

/// The shape of the adapters, and how their closed form is found.
public struct AdapterOptions: Sendable {
    public var kind = AdapterKind.lowRank
    /// Of `lowRank`; nil = chosen on held-out tokens.
    public var rank: Int? = 16
    /// Ranks to choose from: powers of two up to this one.
    public var mostRank = 128
    /// Added to the diagonal of the input's covariance, relative to its mean; nil = chosen on held-out tokens.
    public var ridge: Double?
    /// Whether the input goes through the norm of the sublayer that is emulated.
    public var normsInput = true
    public var stream = RecoveryStream.recovered
    public var blockSlot = BlockSlot.attention
    /// Sequences of the data that are kept aside to choose and to stop by, as a share.
    public var heldOutShare = 0.1
    public var seed: UInt64 = 0
    /// Tokens computed together at most.
    public var batchTokens = TokenData.usualBatch
    /// Bytes for statistics at most; sublayers beyond it wait for another pass. nil = a quarter of the free memory.
    public var memoryBudget: Int?

    public init() {}
}

/// How adapters are trained.
public struct TrainingOptions: Sendable {
    public var objective = RecoveryObjective.kl
    public var start = RecoveryStart.closedForm
    public var steps = 300
    /// Tokens of a step, in whole sequences; at least one sequence.
    public var stepTokens = 2048
    /// At its highest; nil = as `TrainingSchedule` has it for the kind and hidden size.
    public var learningRate: Double?
    public var weightDecay = 0.0
    /// Steps over which the learning rate rises; nil = a tenth of all.
    public var warmupSteps: Int?
    /// Largest norm of all gradients together; nil = no bound.
    public var clipNorm: Double? = 1
    /// Steps between two looks at the held-out loss; nil = a twentieth of all.
    public var evaluateEvery: Int?
    /// Looks without a better held-out loss after which training ends; nil = never before the last step.
    public var patience: Int?
    /// A file that the state of training is kept in, and continued from where it exists; nil = none.
    public var checkpoint: String?
    /// Steps between two checkpoints; nil = as often as the held-out loss is looked at.
    public var checkpointEvery: Int?

    public init() {}
}

/// How adapters came about.
public struct RecoveryReport: Sendable, Equatable {
    public var objective: RecoveryObjective = .closedForm
    /// Tokens that statistics were gathered from, and tokens trained on, repetitions counted.
    public var statisticsTokens = 0
    public var trainedTokens = 0
    /// Steps done, and the step whose adapters were kept.
    public var steps = 0
    public var bestStep = 0
    /// The objective on the held-out tokens before training and at the best step; nil = not trained.
    public var heldOutBefore: Double?
    public var heldOutBest: Double?
    public var seconds = 0.0
    /// By sublayer: the ridge in use, and the share of the update's variance on held-out tokens that the closed form
    /// explains.
    public var ridges: [Int: Double] = [:]
    public var explained: [Int: Double] = [:]
    /// Looks at the loss: step, loss of the steps since the last look, held-out loss.
    public var history: [TrainingRecord] = []

    public init() {}
}

/// One look at the losses of a training.
public struct TrainingRecord: Sendable, Equatable {
    public var step: Int
    /// Mean objective of the training steps since the last look; nan at step 0.
    public var loss: Double
    public var heldOutLoss: Double

    public init(step: Int, loss: Double, heldOutLoss: Double) {
        self.step = step
        self.loss = loss
        self.heldOutLoss = heldOutLoss
    }
}

/// How a training stands, told after every step.
public struct TrainingProgress: Sendable {
    public let step: Int
    public let steps: Int
    /// Objective of the last step.
    public let loss: Double
    /// At the last look, and the best so far.
    public let heldOutLoss: Double
    public let bestLoss: Double
    public let learningRate: Double
    public let tokensPerSecond: Double
    public let seconds: Double
}
