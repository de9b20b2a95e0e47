// SPDX-License-Identifier: Apache-2.0
/// How the learning rate falls after it has risen. The raw values are those of `PRUNE_SCHEDULE_*`.
public enum ScheduleShape: Int32, Sendable, CaseIterable {
    /// A line down, that would end at 0 one step after the last.
    case linear = 0
    /// Half a cosine down, likewise.
    case cosine = 1
    /// Not at all.
    case constant = 2

    public var name: String {
        switch self {
        case .linear: "linear"
        case .cosine: "cosine"
        case .constant: "constant"
        }
    }
}

/// How kept weights are trained. The defaults are those of "Reassessing layer pruning" (arXiv 2411.15558).
public struct HealingOptions: Sendable {
    /// What is trained, by names with commas between: see `TrainedNames`.
    public var train = "head,final_norm,last:3"
    /// `crossEntropy`, `kl` or `js`.
    public var objective = RecoveryObjective.crossEntropy
    public var steps = 100
    /// Sequences of a step.
    public var batchSequences = 8
    /// At its highest.
    public var learningRate = 1e-5
    public var schedule = ScheduleShape.linear
    /// Steps over which the learning rate rises; nil = a tenth of all.
    public var warmupSteps: Int?
    /// Of AdamW, on matrices.
    public var weightDecay = 0.0
    /// Largest norm of all gradients together; nil = no bound.
    public var clipNorm: Double? = 1
    /// Steps between two looks at the held-out loss; nil = a twentieth of all.
    public var evaluateEvery: Int?
    /// Looks without a better held-out loss after which training ends; nil = never before the last step.
    public var patience: Int?
    /// Whether a head that is the matrix of the embedding becomes a matrix of its own.
    public var untiesHead = false
    public var seed: UInt64 = 0
    /// Sequences of the data that are kept aside to stop by, as a share.
    public var heldOutShare = 0.1
    /// Tokens computed together at most.
    public var batchTokens = TokenData.usualBatch
    /// A file that the state of training is kept in, and continued from where it exists; nil = none.
    public var checkpoint: String?
    /// Steps between two checkpoints; nil = as often as the held-out loss is looked at.
    public var checkpointEvery: Int?

    public init() {}

    var lookInterval: Int { evaluateEvery ?? max(1, steps / 20) }

    /// Errors: `.argument`, naming the option out of range.
    func check() throws(PruneError) {
        guard [.crossEntropy, .kl, .js].contains(objective) else {
            throw PruneError(.argument, "objective \(objective.name) does not heal; use ce, kl or js")
        }
        guard batchSequences >= 1 else {
            throw PruneError(.argument, "batch_sequences is \(batchSequences); it must be at least 1")
        }
        guard heldOutShare > 0, heldOutShare < 1 else {
            throw PruneError(.argument, "held_out_share is \(heldOutShare); it must be above 0 and below 1")
        }
        // The others have the ranges that they have for adapters.
        var common = TrainingOptions()
        common.objective = objective
        common.steps = steps
        common.learningRate = learningRate
        common.weightDecay = weightDecay
        common.warmupSteps = warmupSteps
        common.clipNorm = clipNorm
        common.evaluateEvery = evaluateEvery
        common.patience = patience
        common.checkpointEvery = checkpointEvery
        try common.check()
    }
}

/// How a healing went.
public struct HealingReport: Sendable, Equatable {
    public var objective = RecoveryObjective.crossEntropy
    /// Numbers that were trained.
    public var trainedParameters = 0
    /// Tokens of the sequences trained on, repetitions counted.
    public var trainedTokens = 0
    /// Steps done, and the step whose weights were kept.
    public var steps = 0
    public var bestStep = 0
    /// The objective on the held-out tokens before the first step and at the best one.
    public var lossBefore = Double.nan
    public var lossAfter = Double.nan
    /// Those before a checkpoint included.
    public var seconds = 0.0
    public var history: [HealingRecord] = []

    public init() {}
}

/// One look at the losses of a healing.
public struct HealingRecord: Sendable, Equatable {
    public var step: Int
    /// Of that step; nan at step 0.
    public var learningRate: Double
    /// Mean objective of the steps since the last look; nan at step 0.
    public var loss: Double
    public var heldOutLoss: Double

    public init(step: Int, learningRate: Double, loss: Double, heldOutLoss: Double) {
        self.step = step
        self.learningRate = learningRate
        self.loss = loss
        self.heldOutLoss = heldOutLoss
    }
}
