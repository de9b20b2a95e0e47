// SPDX-License-Identifier: Apache-2.0
/// All that moves while adapters are trained: what a checkpoint holds.
struct TrainingState: Sendable {
    var adapters: [Int: Adapter]
    var moments: [Int: GradientMoments]
    /// Those of the lowest held-out loss, and how they came about. Its `steps`, `trainedTokens` and `seconds` are of the
    /// whole training so far.
    var best: [Int: Adapter]
    var report: RecoveryReport
    /// Sequences trained on, repetitions counted.
    var sequencesUsed = 0
    /// Sum of the losses of the steps since the last look, and of the last step alone.
    var lossSinceLook = 0.0
    var lastLoss = Double.nan
    var stepsSinceLook = 0
    /// Looks since the best one.
    var looksSinceBest = 0

    /// At the start. What an earlier training of the same adapters told is forgotten; what their closed form did, stays.
    init(_ start: AdapterSet, _ objective: RecoveryObjective) {
        adapters = start.adapters
        best = start.adapters
        moments = start.adapters.mapValues { GradientMoments(count: $0.parameters.count) }
        report = RecoveryReport()
        report.objective = objective
        report.statisticsTokens = start.report.statisticsTokens
        report.ridges = start.report.ridges
        report.explained = start.report.explained
        report.seconds = start.report.seconds
    }

    var sublayers: [Int] { adapters.keys.sorted() }

    /// Notes a look at the held-out loss, and keeps the adapters if it is the lowest so far. Errors: `.memory`, which changes
    /// nothing.
    mutating func look(_ loss: Double) throws(PruneError) {
        try report.history.makeRoom(for: 1, of: "the history of the training", "evaluate less often")
        if report.history.isEmpty { report.heldOutBefore = loss }
        report.history.append(
            TrainingRecord(
                step: report.steps, loss: stepsSinceLook == 0 ? .nan : lossSinceLook / Double(stepsSinceLook),
                heldOutLoss: loss))
        lossSinceLook = 0
        stepsSinceLook = 0
        guard report.heldOutBest.map({ loss < $0 }) ?? true else {
            looksSinceBest += 1
            return
        }
        best = adapters
        report.heldOutBest = loss
        report.bestStep = report.steps
        looksSinceBest = 0
    }
}
