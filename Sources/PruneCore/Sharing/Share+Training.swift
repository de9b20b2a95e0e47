// SPDX-License-Identifier: Apache-2.0
/// Trains deltas on from their closed form. Errors: as `share`.
func trained(
    _ model: NativeModel, _ tensors: [SharedTensor], _ data: TokenData, heldOut: TokenData, under mask: KeepMask,
    _ sharing: SharingOptions, _ options: AdapterOptions, _ training: TrainingOptions, _ report: RecoveryReport,
    _ progress: ProgressMeter.Listener?, _ step: ((TrainingProgress) -> Bool)?
) throws(PruneError) -> (tensors: [SharedTensor], report: RecoveryReport) {
    try training.check()
    let parameters = tensors.reduce(0) { $0 + $1.elementCount }
    guard parameters > 0 else {
        throw PruneError(.argument, "the deltas have no parameters to train; give more bytes, or a rank")
    }
    let weights = tensors.reduce(0) { $0 + $1.projection.outputs * $1.projection.inputs }
    try Memory.require(
        (8 * parameters + 2 * weights).times(clamping: MemoryLayout<Float>.stride),
        for: "the training of \(parameters) parameters", "share fewer sublayers, or lower the rank")
    let fingerprint = try sharingFingerprint(model, data, heldOut: heldOut, mask, tensors, sharing, options, training)
    var trainer = try SharedTraining(
        model, tensors, data, heldOut: heldOut, sharing, options, training, fingerprint: fingerprint, progress: progress
    )
    var deltas: [String: TrainedDelta] = [:]
    for tensor in tensors {
        guard let (up, down) = tensor.factors else { continue }
        deltas[tensor.projection.tensor] = TrainedDelta(try up.widened() + down.widened())
    }
    var started = report
    started.objective = training.objective
    let start = SharedTrainingState(deltas: deltas, report: started)
    var state =
        try training.checkpoint.flatMap { path throws(PruneError) in try start.continued(fingerprint, from: path) }
        ?? start
    try trainer.run(&state, listener: step)
    var found: [SharedTensor] = []
    for tensor in tensors {
        guard state.report.bestStep > 0, let delta = state.deltas[tensor.projection.tensor] else {
            found.append(tensor)
            continue
        }
        let (up, down) = tensor.split(delta.best)
        found.append(
            try SharedTensor(
                SharingPlace(
                    sublayer: tensor.sublayer, baseSublayer: tensor.baseSublayer, projection: tensor.projection,
                    base: tensor.base),
                wholeType: tensor.elementType, scale: tensor.scale, up: up, down: down, error: nil))
    }
    return (found, state.report)
}

/// A number that tells trainings of deltas apart: two with the same one go the same way, step by step.
private func sharingFingerprint(
    _ model: NativeModel, _ data: TokenData, heldOut: TokenData, _ mask: KeepMask, _ tensors: [SharedTensor],
    _ sharing: SharingOptions, _ options: AdapterOptions, _ training: TrainingOptions
) throws(PruneError) -> UInt64 {
    let common = try TrainingFingerprint(model, data, heldOut: heldOut, mask, options, training, initial: nil).value
    var out = ByteWriter(mark: "deltas", version: 1)
    out.add(common)
    for value in [sharing.firstShare, sharing.ramp] { out.add(value) }
    for tensor in tensors {
        for byte in Array(tensor.projection.tensor.utf8) + Array(tensor.base.utf8) { out.add(byte) }
        out.add(Int64(tensor.rank))
        out.add(Double(tensor.scale))
    }
    return ByteChecksum(out.bytes[...]).value
}
