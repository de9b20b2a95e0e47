// SPDX-License-Identifier: Apache-2.0
extension AdapterOptions {
    /// Errors: `.argument`, naming the option out of range.
    func check(hiddenSize: Int) throws(PruneError) {
        try checkClosedForm(width: hiddenSize)
        guard heldOutShare > 0, heldOutShare < 1 else {
            throw PruneError(.argument, "held_out_share is \(heldOutShare); it must be above 0 and below 1")
        }
    }
}

extension TrainingOptions {
    /// Errors: `.argument`, naming the option out of range.
    func check() throws(PruneError) {
        guard objective != .closedForm else {
            throw PruneError(.argument, "objective closed_form is solved, not trained; use mse, ce, kl or js")
        }
        let counts = [
            ("steps", steps), ("step_tokens", stepTokens), ("evaluate_every", evaluateEvery ?? 1),
            ("patience", patience ?? 1),
            ("checkpoint_every", checkpointEvery ?? 1),
        ]
        if let (name, value) = counts.first(where: { $0.1 < 1 }) {
            throw PruneError(.argument, "\(name) is \(value); it must be at least 1")
        }
        guard steps <= Self.mostSteps else {
            throw PruneError(.argument, "steps is \(steps); it must be at most \(Self.mostSteps)")
        }
        if let warmupSteps, warmupSteps < 0 {
            throw PruneError(.argument, "warmup_steps is \(warmupSteps); it must not be negative")
        }
        if let learningRate, !(learningRate.isFinite && learningRate > 0) {
            throw PruneError(.argument, "learning_rate is \(learningRate); it must be finite and above 0")
        }
        guard weightDecay.isFinite, weightDecay >= 0 else {
            throw PruneError(.argument, "weight_decay is \(weightDecay); it must be finite and not negative")
        }
        if let clipNorm, !(clipNorm.isFinite && clipNorm > 0) {
            throw PruneError(.argument, "clip_norm is \(clipNorm); it must be finite and above 0")
        }
    }

    /// So that counts of tokens cannot overflow.
    private static let mostSteps = 1 << 32
}
