// SPDX-License-Identifier: Apache-2.0
/// The gradient of an objective with respect to the hidden states before `sublayer`, tokens x hiddenSize, and the
/// objective: the weighted mean over all predicting tokens.
///
/// - Parameters:
///   - objective: `.crossEntropy`, `.kl` or `.js`; the latter two compare with the model when it keeps everything.
///   - sublayer: 0 ... sublayerCount; the last one = after all of them.
/// Errors: `.argument`, `.data`, `.unsupported`, `.nonFinite`, `.cancelled`, `.memory`.
public func objectiveGradient(
    _ model: any Model, _ data: TokenData, under mask: KeepMask, _ objective: RecoveryObjective,
    atSublayer sublayer: Int,
    batchTokens: Int, progress: ProgressMeter.Listener? = nil
) throws(PruneError) -> (gradient: FloatBuffer, loss: Double) {
    guard sublayer >= 0, sublayer <= model.shape.sublayerCount else {
        throw PruneError(.argument, "sublayer \(sublayer) is not in 0 ... \(model.shape.sublayerCount)")
    }
    guard objective == .crossEntropy || objective == .kl || objective == .js else {
        throw PruneError(.argument, "objective \(objective.name) has no gradient of its own; use ce, kl or js")
    }
    let (pass, batches) = try gradientPass(model, data, under: mask, objective, batchTokens, progress)
    let width = model.shape.hiddenSize
    let values = try FloatBuffer(count: data.tokens.count * width)
    values.pointer.update(repeating: 0, count: values.count)
    var total = ObjectiveSum()
    for batch in batches {
        let (value, gradient) = try pass.stateGradient(batch, before: sublayer)
        total += value
        guard let gradient else { continue }
        try model.read(gradient) { own throws(PruneError) in
            let first = values.pointer + batch.tokens.lowerBound * width
            for index in 0..<min(own.count, batch.rowCount * width) { first[index] = own[index] }
        }
    }
    let scale = Float(1 / total.weight)
    var isFinite = true
    for index in 0..<values.count {
        values.pointer[index] *= scale
        isFinite = isFinite && values.pointer[index].isFinite
    }
    guard isFinite else { throw nonFiniteGradient(before: sublayer) }
    return (values, total.mean)
}

/// The gradient of an objective with respect to the parameters of one adapter, all adapters in place, and the objective.
///
/// - Parameter objective: any but `.closedForm`.
/// Errors: as `objectiveGradient`; `.argument` if the adapters are of another model, or none stands at `sublayer`.
public func adapterGradient(
    _ model: any Model, _ data: TokenData, _ adapters: AdapterSet, _ objective: RecoveryObjective,
    atSublayer sublayer: Int, batchTokens: Int, progress: ProgressMeter.Listener? = nil
) throws(PruneError) -> (gradient: [Float], loss: Double) {
    try adapters.check(for: model)
    guard objective != .closedForm else {
        throw PruneError(.argument, "objective closed_form is solved, not trained; use mse, ce, kl or js")
    }
    guard adapters.adapters[sublayer] != nil else {
        throw PruneError(.argument, "no adapter stands at sublayer \(sublayer); there are \(adapters.sublayers)")
    }
    let (pass, batches) = try gradientPass(model, data, under: adapters.mask, objective, batchTokens, progress)
    try Memory.require(
        12 * adapters.parameterCount, for: "the gradients of \(adapters.parameterCount) parameters",
        "use adapters with fewer parameters")
    var sums = adapters.adapters.mapValues { [Float](repeating: 0, count: $0.parameters.count) }
    var total = ObjectiveSum()
    for batch in batches {
        total += try pass.addGradients(batch, adapters.adapters, downTo: sublayer, to: &sums)
    }
    let scale = Float(1 / total.weight)
    let gradient = (sums[sublayer] ?? []).map { $0 * scale }
    guard gradient.allSatisfy(\.isFinite) else { throw nonFiniteGradient(before: sublayer) }
    return (gradient, total.mean)
}

/// The loss was finite, so the way back is at fault.
private func nonFiniteGradient(before sublayer: Int) -> PruneError {
    PruneError(.nonFinite, "the gradient at sublayer \(sublayer) is not finite, though the loss is")
}

/// What both of the above begin with. Errors: as they.
private func gradientPass(
    _ model: any Model, _ data: TokenData, under mask: KeepMask, _ objective: RecoveryObjective, _ batchTokens: Int,
    _ progress: ProgressMeter.Listener?
) throws(PruneError) -> (pass: GradientPass, batches: [TokenBatch]) {
    guard model.hasGradients else { throw model.noGradients }
    try model.shape.check(mask)
    let batches = data.batches(of: batchTokens)
    try checkPredicts(batches)
    for batch in batches { try batch.check(vocabulary: model.shape.vocabularySize) }
    let bare = GradientPass(model, mask, objective)
    let meter = ProgressMeter(
        stage: "gradient", total: batches.count * bare.stepsPerBatch, listener: progress)
    return (GradientPass(model, mask, objective, meter: meter), batches)
}
