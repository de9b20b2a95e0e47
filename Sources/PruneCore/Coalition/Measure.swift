// SPDX-License-Identifier: Apache-2.0
/// A quantity of a masked model, each a damage: lower = better. The raw values are those of `PRUNE_MEASURE_*`.
public enum Measure: Int32, Sendable, CaseIterable {
    /// Mean negative log-likelihood per predicted token, nats.
    case loss = 0
    /// Mean over predicting tokens of ||logits - reference logits||_2.
    case logitL2 = 1
    /// Mean over predicting tokens of KL(reference || masked model), nats.
    case kl = 2
    /// Mean over predicting tokens of the Jensen-Shannon divergence to the reference, nats; at most ln 2.
    case js = 3
    /// Share of multiple-choice items answered wrongly.
    case choiceError = 4
    /// Mean over multiple-choice items of -log softmax over the candidates' scores, at the answer.
    case choiceLoss = 5

    /// Whether it is a distance to the logits of a reference mask.
    var comparesLogits: Bool { self == .logitL2 || self == .kl || self == .js }
}

/// Evaluates a measure under each of some masks, as one walk over their prefix tree.
///
/// - Parameters:
///   - cap: a value of a mask above it counts as it; nil = none.
///   - reference: the mask to whose logits distances are taken; nil = everything kept. Of no account to the others.
/// Means over tokens are weighted as the data says. Errors: `.data` if there is nothing to predict, or a choice measure is
/// asked of data without choices; `.nonFinite` naming the layer; `.cancelled`; those of the model.
public func damages(
    _ model: any Model, _ data: TokenData, under masks: [KeepMask], _ measure: Measure, cap: Double?,
    reference: KeepMask?, _ options: WalkOptions, stage: String = "evaluate coalitions",
    progress: ProgressMeter.Listener?
) throws(PruneError) -> (values: [Double], report: WalkReport) {
    let quantity: TokenQuantity
    switch measure {
    case .loss: quantity = .loss
    case .logitL2: quantity = .distance(.l2)
    case .kl: quantity = .distance(.kl)
    case .js: quantity = .distance(.js)
    case .choiceError, .choiceLoss:
        let measured = try ChoiceMeasurement(model, data, under: masks, options, stage: stage, progress: progress)
        let values = measured.means.map { measure == .choiceError ? $0.error : $0.loss }
        return (capped(values, at: cap), measured.report)
    }
    let measured = try Measurement(
        model, data, under: masks, [quantity], reference: reference, options, stage: stage, progress: progress)
    return (capped(measured.means.map { $0[0].mean }, at: cap), measured.report)
}

private func capped(_ values: [Double], at cap: Double?) -> [Double] {
    guard let cap else { return values }
    return values.map { min($0, cap) }
}
