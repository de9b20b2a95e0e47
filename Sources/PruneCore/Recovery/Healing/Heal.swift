// SPDX-License-Identifier: Apache-2.0
/// A model whose kept weights were trained, and how that went.
public struct Healed: Sendable {
    /// The whole model, those sublayers included that the mask removes, which have the weights that they had.
    public let model: any Model
    public let report: HealingReport
}

/// Trains weights of a model under a mask.
///
/// The new model shares all other weights with `model`, wherever they lie.
///
/// - Parameters:
///   - heldOut: what the best step is chosen by; nil = a share of the data's sequences, by seed.
///   - teacher: what `kl` and `js` compare with, under a mask of its own; nil = `model` as it is, without the mask.
///   - progress: told within steps and looks; returns true to stop with `.cancelled`.
///   - step: told after every step; returns true to stop likewise.
/// Errors: `.argument` for options out of range, names of what the mask removes, a tied head, or a teacher of another
/// vocabulary; `.data` if there is too little to learn from or to predict; `.unsupported` if a host runs the model;
/// `.nonFinite`; `.cancelled`; `.memory`; those of files.
public func heal(
    _ model: any Model, _ data: TokenData, heldOut: TokenData? = nil, under mask: KeepMask, _ options: HealingOptions,
    teacher: (any Model)? = nil, teacherMask: KeepMask? = nil, progress: ProgressMeter.Listener? = nil,
    step: ((TrainingProgress) -> Bool)? = nil
) throws(PruneError) -> Healed {
    try model.shape.check(mask)
    try options.check()
    let given = try HealedModel(model, under: mask, as: "the model")
    let names = try TrainedNames(options.train, under: given.mask)
    let trained = try TrainedTensors(given.native, names, untie: options.untiesHead, under: given.mask)
    guard options.objective != .crossEntropy || teacher == nil else {
        throw PruneError(.argument, "objective ce has no teacher: leave it out, or use kl or js")
    }
    let guide = try options.objective == .crossEntropy ? nil : teacherModel(teacher, teacherMask, of: model)
    for data in [data, heldOut].compactMap(\.self) {
        try TokenBatch(data, 0..<data.sequenceCount).check(vocabulary: model.shape.vocabularySize)
    }
    let parts =
        if let heldOut { (rest: data, heldOut: heldOut) } else {
            try data.split(share: options.heldOutShare, seed: options.seed)
        }
    try Memory.require(
        trained.parameterCount.times(clamping: WholeTensors.bytesPerParameter),
        for: "the training of \(trained.parameterCount) weights", "train fewer, such as \"head,last:1\"")
    let fingerprint = try TrainingFingerprint(
        model, parts.rest, heldOut: parts.heldOut, mask, options, teacher: guide, trained
    ).value
    let tensors = try WholeTensors(trained.stored, compute: given.native.compute)
    let student = given.with(try given.native.replacing(tensors.tensors, trained))
    let pass = HealingPass(
        student: student, teacher: guide, objective: options.objective,
        sharesWeights: guide?.native === given.native, lowest: trained.lowest,
        reachesEmbedding: trained.reachesEmbedding)
    var healing = try Healing(
        pass, tensors, parts.rest, heldOut: parts.heldOut, options, fingerprint: fingerprint, progress: progress)
    var state = HealingState(
        tensors.parameters, options.objective, trainedParameters: trained.parameterCount)
    if let path = options.checkpoint { _ = try HealingCheckpoint.read(path, fingerprint, into: &state) }
    try healing.run(&state, listener: step)
    return Healed(model: try model.with(student.native), report: state.report)
}

/// The teacher of a model. Errors: `.argument` for one of another vocabulary; `.unsupported` if a host runs it.
private func teacherModel(
    _ teacher: (any Model)?, _ mask: KeepMask?, of model: any Model
) throws(PruneError) -> HealedModel {
    let teacher = teacher ?? model
    let (own, other) = (model.shape.vocabularySize, teacher.shape.vocabularySize)
    guard own == other else {
        throw PruneError(
            .argument, "the teacher has a vocabulary of \(other), the model one of \(own): give a teacher of the same")
    }
    if let mask { try teacher.shape.check(mask) }
    return try HealedModel(teacher, under: mask ?? KeepMask(blocks: teacher.shape.blockCount), as: "the teacher")
}

extension NativeModel {
    /// The model with trained tensors in their places.
    fileprivate func replacing(_ own: [StoredTensor], _ trained: TrainedTensors) throws(PruneError) -> NativeModel {
        let names = config.architecture
        var all = own
        // A file may store the one matrix of both ends twice.
        if config.tiesEmbeddings, !trained.unties, tensors.contains(names.headName),
            let table = own.first(where: { $0.name == names.embeddingName })
        {
            all.append(table.renamed(names.headName))
        }
        return try replacing(all, untied: trained.unties)
    }
}

extension Model {
    /// The same model over other weights, adapters included.
    fileprivate func with(_ native: NativeModel) throws(PruneError) -> any Model {
        guard let recovered = self as? RecoveredModel else { return native }
        let set = recovered.adapters
        return try RecoveredModel(
            native,
            AdapterSet(
                mask: set.mask, adapters: set.adapters, weightSample: try native.weightSample(),
                hiddenSize: set.hiddenSize, report: set.report))
    }
}
