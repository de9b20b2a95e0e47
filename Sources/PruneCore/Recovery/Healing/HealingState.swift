// SPDX-License-Identifier: Apache-2.0
/// All that moves while weights are trained: what a checkpoint holds.
struct HealingState {
    /// Masters, means of gradients, and the masters of the lowest held-out loss.
    let parameters: [TrainedParameter]
    /// How it went. Its `steps`, `trainedTokens` and `seconds` are of the whole training so far.
    var report = HealingReport()
    /// Sequences trained on, repetitions counted.
    var sequencesUsed = 0
    /// Sum of the losses of the steps since the last look, and of the last step alone.
    var lossSinceLook = 0.0
    var lastLoss = Double.nan
    var lastRate = Double.nan
    var stepsSinceLook = 0
    /// Looks since the best one.
    var looksSinceBest = 0

    init(_ parameters: [TrainedParameter], _ objective: RecoveryObjective, trainedParameters: Int) {
        self.parameters = parameters
        report.objective = objective
        report.trainedParameters = trainedParameters
    }

    /// Notes a look at the held-out loss, and keeps the masters if it is the lowest so far. Errors: `.memory`, which changes
    /// nothing.
    mutating func look(_ loss: Double) throws(PruneError) {
        try report.history.makeRoom(for: 1, of: "the history of the training", "evaluate less often")
        if report.history.isEmpty { report.lossBefore = loss }
        report.history.append(
            HealingRecord(
                step: report.steps, learningRate: lastRate,
                loss: stepsSinceLook == 0 ? .nan : lossSinceLook / Double(stepsSinceLook), heldOutLoss: loss))
        lossSinceLook = 0
        stepsSinceLook = 0
        guard report.history.count == 1 || loss < report.lossAfter else {
            looksSinceBest += 1
            return
        }
        for parameter in parameters { parameter.values.copy(to: parameter.best.pointer) }
        report.lossAfter = loss
        report.bestStep = report.steps
        looksSinceBest = 0
    }
}
