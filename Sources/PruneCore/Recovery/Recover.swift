// SPDX-License-Identifier: Apache-2.0
/// Makes adapters that emulate what a mask removes.
///
/// - Parameters:
///   - heldOut: what ridge, rank and the best step are chosen by; nil = a share of the data's sequences, by seed.
///   - initial: adapters to train on from, which must be of this mask; nil = as `training.start` says.
///   - training: nil = the closed form alone.
///   - progress: told as the closed form advances, and within the steps of training; returns true to stop with `.cancelled`.
///   - step: told after every training step; returns true to stop likewise.
/// Errors: `.argument` for a mask that removes nothing, or options out of range; `.data` if there is too little to learn
/// from or to predict; `.unsupported` if the model has no gradients; `.nonFinite`; `.cancelled`; those of files.
public func recover(
    _ model: any Model, _ data: TokenData, heldOut: TokenData? = nil, under mask: KeepMask, _ options: AdapterOptions,
    initial: AdapterSet? = nil, training: TrainingOptions? = nil, progress: ProgressMeter.Listener? = nil,
    step: ((TrainingProgress) -> Bool)? = nil
) throws(PruneError) -> AdapterSet {
    try model.shape.check(mask)
    let mask = model.shape.present(in: mask)
    guard model.runsSublayers else {
        throw PruneError(
            .unsupported,
            "adapters need a model that runs sublayer by sublayer; this host offers evaluate, but not embed, apply and release"
        )
    }
    try options.check(hiddenSize: model.shape.hiddenSize)
    // Asked for early: it also says that a mask removes nothing, or that the model gives no norm.
    let slots = try adapterSlots(model, under: mask, options)
    for data in [data, heldOut].compactMap(\.self) {
        try TokenBatch(data, 0..<data.sequenceCount).check(vocabulary: model.shape.vocabularySize)
    }
    let parts =
        if let heldOut { (rest: data, heldOut: heldOut) } else {
            try data.split(share: options.heldOutShare, seed: options.seed)
        }
    guard let training else {
        guard initial == nil else {
            throw PruneError(
                .argument, "adapters to start from need a training; give a trained objective")
        }
        return try closedForm(model, parts.rest, heldOut: parts.heldOut, under: mask, options, progress: progress)
    }
    try training.check()
    try requireMemory(model.shape.hiddenSize, slots.count, options, parts.rest, parts.heldOut)
    guard model.hasGradients else { throw model.noGradients }
    try initial?.check(for: model, mask)
    guard initial != nil || training.start == .closedForm || options.kind != .lowRank || options.rank != nil else {
        throw PruneError(.argument, "the rank is chosen by the closed form; give a rank, or start from the closed form")
    }
    let fingerprint = try TrainingFingerprint(
        model, parts.rest, heldOut: parts.heldOut, mask, options, training, initial: initial
    ).value
    var trainer = try Training(
        model, parts.rest, heldOut: parts.heldOut, under: mask, options, training,
        kind: initial?.adapters.values.first?.kind ?? options.kind, fingerprint: fingerprint, progress: progress)
    let layout = TrainingCheckpoint.Layout(hiddenSize: model.shape.hiddenSize, mask: mask)
    let found = try training.checkpoint.flatMap { path throws(PruneError) in
        try TrainingCheckpoint.read(path, fingerprint, layout)
    }
    var state: TrainingState
    if let found {
        state = found
    } else {
        let start =
            if let initial { initial } else if training.start == .zero {
                try zeroAdapters(model, under: mask, slots, options)
            } else {
                try closedForm(model, parts.rest, heldOut: parts.heldOut, under: mask, options, progress: progress)
            }
        state = TrainingState(start, training.objective)
    }
    try trainer.run(&state, listener: step)
    return AdapterSet(
        mask: mask, adapters: state.best, weightSample: try model.weightSample(), hiddenSize: model.shape.hiddenSize,
        report: state.report)
}

/// Proves that a training can hold its adapters, their best state, the moments of both orders and the gradients, and describe
/// its data. Errors: `.memory`.
private func requireMemory(
    _ width: Int, _ count: Int, _ options: AdapterOptions, _ data: TokenData, _ heldOut: TokenData
) throws(PruneError) {
    let parameters = Adapter.parameterCount(
        options.kind, width: width, rank: options.rank ?? min(options.mostRank, width))
    let tokens = data.tokens.count + heldOut.tokens.count
    try Memory.require(
        count.times(clamping: 8 * MemoryLayout<Float>.stride * parameters).plus(
            clamping: 24 * tokens + 48 * (data.sequenceCount + heldOut.sequenceCount)),
        for: "the training of \(count) adapters of hidden size \(width)",
        "use biases or a lower rank, or fewer adapters")
}

/// Adapters that add nothing and can learn: only the first factor of a low rank is drawn, at random, so that the second
/// one has a gradient.
private func zeroAdapters(
    _ model: any Model, under mask: KeepMask, _ slots: [AdapterSlot], _ options: AdapterOptions
) throws(PruneError) -> AdapterSet {
    let width = model.shape.hiddenSize
    var adapters: [Int: Adapter] = [:]
    for slot in slots {
        var adapter = Adapter(options.kind, width: width, rank: options.rank ?? 0, norm: slot.norm)
        // Stream 0 is the split's; epochs have theirs far above.
        var random = RandomSource(seed: options.seed, stream: 1 + UInt64(slot.sublayer))
        for index in adapter.downRange {
            // Not 0, where the quantile is infinite.
            let share = (random.unit() + 0x1p-54)
            adapter.parameters[index] = Float(normalQuantile(share) / Double(width).squareRoot())
        }
        adapters[slot.sublayer] = adapter
    }
    return AdapterSet(mask: mask, adapters: adapters, weightSample: try model.weightSample(), hiddenSize: width)
}

extension AdapterSet {
    /// Checks that training can start from the adapters. Errors: `.argument`, with what differs.
    fileprivate func check(for model: any Model, _ mask: KeepMask) throws(PruneError) {
        try check(for: model)
        guard mask == model.shape.present(in: self.mask) else {
            throw PruneError(
                .argument,
                "the adapters are of another mask: they were made for the removal of \(self.mask.removed.map(sublayerName)), not of \(mask.removed.map(sublayerName))"
            )
        }
        guard !adapters.isEmpty else { throw PruneError(.argument, "there are no adapters to train on from") }
    }
}
