// SPDX-License-Identifier: Apache-2.0
/// Has the sublayers that a mask removes use the weights of earlier ones that it keeps, each with a delta of low rank. Norms
/// and biases stay their own. What the model stores becomes less; what it computes does not.
///
/// - Parameters:
///   - data: what the deltas are solved and trained on; nil = they are those of the matrices alone.
///   - heldOut: what the best step of training is chosen by; nil = a share of the data's sequences, by seed.
///   - mask: sublayers that are absent from the model are not shared.
///   - options: rank (nil where `sharing` has bytes), ridge, heldOutShare, seed, batchTokens and memoryBudget are used.
///   - training: nil = the closed form alone.
/// Errors: `.argument` if nothing is removed that is there, a sublayer has none to share with, or an option is out of range;
/// `.unsupported` for a model that we do not run, or that has adapters, and for mixtures of experts; `.data`; `.nonFinite`;
/// `.cancelled`; `.memory`; those of files.
public func share(
    _ model: any Model, _ data: TokenData?, heldOut: TokenData? = nil, under mask: KeepMask, _ sharing: SharingOptions,
    _ options: AdapterOptions, training: TrainingOptions? = nil, progress: ProgressMeter.Listener? = nil,
    step: ((TrainingProgress) -> Bool)? = nil
) throws(PruneError) -> (model: NativeModel, report: SharingReport) {
    let begin = ProgressMeter.now()
    let native = try nativeModel(model, toShare: "weights")
    try native.shape.check(mask)
    try sharing.check()
    try options.checkForSharing()
    for data in [data, heldOut].compactMap(\.self) {
        try TokenBatch(data, 0..<data.sequenceCount).check(vocabulary: native.shape.vocabularySize)
    }
    let mask = native.shape.present(in: mask)
    let candidates = try sharingCandidates(native, mask)
    var learnt = data
    var aside = heldOut
    if training != nil {
        guard let data else {
            throw PruneError(.argument, "training needs data; give some, or take the closed form alone")
        }
        if aside == nil {
            let parts = try data.split(share: options.heldOutShare, seed: options.seed)
            (learnt, aside) = (parts.rest, parts.heldOut)
        }
    }
    var solver = SharingSolver(native, learnt, candidates.map(\.sublayer), options, scaled: sharing.scaled, progress)
    let tensors = try solver.deltas(candidates, sharing)
    var report = SharingReport()
    report.training.statisticsTokens = learnt?.tokens.count ?? 0
    report.training.seconds = ProgressMeter.now() - begin
    var deltas = tensors
    if let training, let learnt, let aside {
        (deltas, report.training) = try trained(
            native, tensors, learnt, heldOut: aside, under: mask, sharing, options, training, report.training, progress,
            step)
    }
    let shared = try native.sharing(deltas)
    report.bytesWhole = deltas.reduce(0) { $0 + $1.wholeBytes }
    report.bytesShared = deltas.reduce(0) { $0 + $1.byteCount }
    report.training.seconds = ProgressMeter.now() - begin
    return (shared, report)
}

/// The model as one that our engine runs, without adapters. Errors: `.unsupported`.
func nativeModel(_ model: any Model, toShare what: String) throws(PruneError) -> NativeModel {
    if model is RecoveredModel {
        throw PruneError(
            .unsupported,
            "the model has adapters, which stand in the places of weights; share \(what) of the model without them")
    }
    guard let native = model as? NativeModel else {
        throw PruneError(.unsupported, "a host runs this model, and its weights are the host's; open it with PruneCore")
    }
    return native
}

/// A sublayer that is to share, and the places of its weights in each that it can share with: the nearest first.
struct SharingCandidates {
    let sublayer: Int
    let places: [[SharingPlace]]
}

/// Errors: `.argument` if the mask removes nothing that is there, or a sublayer has none to share with; `.unsupported` for one
/// without weights that can be shared.
private func sharingCandidates(_ model: NativeModel, _ mask: KeepMask) throws(PruneError) -> [SharingCandidates] {
    let removed = mask.removed.filter { model.shape.present.keeps($0) }
    guard !removed.isEmpty else {
        throw PruneError(.argument, "the mask removes no sublayer that is there, so that none is to share weights")
    }
    var candidates: [SharingCandidates] = []
    for sublayer in removed {
        guard !model.config.sublayers[sublayer].storedProjections.isEmpty else {
            throw PruneError(
                .unsupported, "\(sublayerName(sublayer)) is a mixture of experts, whose weights are not shared; keep it"
            )
        }
        if let other = model.sharing.tensors.values.first(where: {
            $0.baseSublayer == sublayer && !removed.contains($0.sublayer)
        }) {
            throw PruneError(
                .argument,
                "\(sublayerName(sublayer)) stores the weights that \(sublayerName(other.sublayer)) shares; keep it, or share both anew"
            )
        }
        let earlier = stride(from: sublayer - 2, through: 0, by: -2).filter(mask.keeps)
        let places = earlier.compactMap { SharingPlace.places(of: sublayer, base: $0, in: model) }
        guard !places.isEmpty else {
            throw PruneError(
                .argument,
                "\(sublayerName(sublayer)) has no sublayer of its kind and shapes before it that is kept and stores its own weights; keep one, or keep this"
            )
        }
        candidates.append(SharingCandidates(sublayer: sublayer, places: places))
    }
    return candidates
}

extension SharingSolver {
    /// Deltas of all weights of some sublayers. Errors: as `share`.
    fileprivate mutating func deltas(
        _ candidates: [SharingCandidates], _ sharing: SharingOptions
    ) throws(PruneError) -> [SharedTensor] {
        let usual = options.rank ?? SharingOptions.usualRank
        var chosen: [Int: [SharingPlace]] = [:]
        var spectra: [Int: [[Double]]] = [:]
        let needsSpectra = sharing.bytes != nil || sharing.base == .best
        if needsSpectra {
            let meter = ProgressMeter(stage: "spectra", total: candidates.count, listener: progress)
            let own = self
            try forEachSublayer { (sublayer, moments) throws(PruneError) in
                let places = candidates.first { $0.sublayer == sublayer }?.places ?? []
                // With a budget the ranks are not known yet: of the bases, that is best which is so at the usual one.
                let (place, spectrum) = try own.best(
                    sharing.base == .best ? places : Array(places.prefix(1)), moments, usual)
                (chosen[sublayer], spectra[sublayer]) = (place, spectrum)
                try meter.advance()
            }
        } else {
            for own in candidates { chosen[own.sublayer] = own.places[0] }
        }
        let ranks = self.ranks(chosen, spectra, sharing, usual: usual)
        var found: [SharedTensor] = []
        let meter = ProgressMeter(stage: "deltas", total: candidates.count, listener: progress)
        let own = self
        try forEachSublayer { (sublayer, moments) throws(PruneError) in
            let places = chosen[sublayer] ?? []
            found += try own.solve(places, ranks: places.map { ranks[$0.name] ?? 0 }, moments)
            try meter.advance()
        }
        return found
    }

    /// The base whose weights are nearest at a rank, and the spectra of the differences.
    private func best(
        _ bases: [[SharingPlace]], _ moments: SublayerMoments?, _ rank: Int
    ) throws(PruneError) -> (places: [SharingPlace], spectra: [[Double]]) {
        var best: (error: Double, places: [SharingPlace], spectra: [[Double]])?
        for places in bases {
            let found = try spectra(places, moments)
            let error = found.reduce(0) { $0 + $1.dropFirst(rank).reduce(0, +) }
            if best.map({ error < $0.error }) ?? true { best = (error, places, found) }
        }
        return (best?.places ?? [], best?.spectra ?? [])
    }

    /// By name of the weight.
    private func ranks(
        _ chosen: [Int: [SharingPlace]], _ spectra: [Int: [[Double]]], _ sharing: SharingOptions, usual: Int
    ) -> [String: Int] {
        let sublayers = chosen.keys.sorted()
        let places = sublayers.flatMap { chosen[$0] ?? [] }
        guard let bytes = sharing.bytes else {
            return Dictionary(uniqueKeysWithValues: places.map { ($0.name, usual) })
        }
        let gains = sublayers.flatMap { spectra[$0] ?? [] }
        let choices = zip(places, gains).map { place, gains in
            RankChoice(gains: gains, bytesPerRank: place.bytesPerRank(model.wholeType(of: place)))
        }
        return Dictionary(
            uniqueKeysWithValues: zip(places, PruneCore.ranks(choices, within: bytes)).map { ($0.name, $1) })
    }
}

extension NativeModel {
    /// The model with some weights stored as deltas. Errors: `.memory`; `.file`.
    func sharing(_ deltas: [SharedTensor]) throws(PruneError) -> NativeModel {
        var own: [StoredTensor] = []
        for delta in deltas {
            let base = try tensors.tensor(delta.base, shape: delta.projection.shape)
            own.append(
                try delta.materialised(from: base).tensor(
                    delta.projection.tensor, .float32, shape: delta.projection.shape))
        }
        return try replacing(
            own, sharing: Dictionary(uniqueKeysWithValues: deltas.map { ($0.projection.tensor, $0) }))
    }
}
