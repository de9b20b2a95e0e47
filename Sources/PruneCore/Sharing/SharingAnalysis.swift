// SPDX-License-Identifier: Apache-2.0
/// How well a weight could be stored as that of an earlier sublayer and a delta.
public struct SharingRecord: Sendable {
    public let sublayer: Int
    public let baseSublayer: Int
    /// Which of the sublayer's stored weights, in the order of its projections.
    public let weight: Int
    public let outputs: Int
    public let inputs: Int
    /// |W - base| / |W|, and the least ranks with which the error |W - base - delta| / |W| is at most each of those asked for.
    public let difference: Double
    public let ranks: [Int]
    /// The same of outputs: sqrt(E |(W - base - delta) x|^2 / E |W x|^2) over tokens. nil and empty without data.
    public let weightedDifference: Double?
    public let weightedRanks: [Int]
    /// What W is stored in.
    let elementType: ElementType

    /// Bytes of a delta of rank 1, and of the weight.
    public var bytesPerRank: Int { SharedTensor.factorType(elementType).bytes(of: outputs + inputs) }
    public var bytesWhole: Int { elementType.bytes(of: outputs * inputs) }
}

/// Analyses all pairs of sublayers of a kind, of which the later could share the weights of the earlier: in the order of the
/// later ones, then of the earlier ones, then of projections.
///
/// - Parameters:
///   - data: what the inputs' moments are taken from; nil = matrices alone.
///   - errors: each above 0.
///   - reach: blocks between the two of a pair at most; nil = no bound.
///   - options: ridge, batchTokens and memoryBudget are used.
/// Errors: `.argument` for an error or a reach out of range; `.unsupported` as `share`; `.nonFinite`; `.cancelled`; `.memory`.
public func analyseSharing(
    _ model: any Model, _ data: TokenData?, errors: [Double], reach: Int?, _ options: AdapterOptions,
    progress: ProgressMeter.Listener? = nil
) throws(PruneError) -> [SharingRecord] {
    let native = try nativeModel(model, toShare: "weights")
    try options.checkForSharing()
    if let bad = errors.first(where: { !($0.isFinite && $0 > 0) }) {
        throw PruneError(.argument, "an error of \(bad) is asked for; it must be finite and above 0")
    }
    if let data {
        try TokenBatch(data, 0..<data.sequenceCount).check(vocabulary: native.shape.vocabularySize)
    }
    let pairs = try sharingPairs(native, reach: reach)
    let sublayers = pairs.keys.sorted()
    var solver = SharingSolver(native, data, sublayers, options, scaled: false, progress)
    let meter = ProgressMeter(
        stage: "spectra", total: pairs.values.reduce(0) { $0 + $1.count }, listener: progress)
    var records: [SharingRecord] = []
    let own = solver
    try solver.forEachSublayer { (sublayer, moments) throws(PruneError) in
        for places in pairs[sublayer] ?? [] {
            let plain = try own.spectra(places, nil)
            let weighted = try moments.map { found throws(PruneError) in try own.spectra(places, found) }
            for (index, place) in places.enumerated() {
                let tails = relativeTails(plain[index], of: 1)
                let weightedTails = weighted.map { relativeTails($0[index], of: 1) }
                records.append(
                    SharingRecord(
                        sublayer: sublayer, baseSublayer: place.baseSublayer, weight: index,
                        outputs: place.projection.outputs, inputs: place.projection.inputs, difference: tails[0],
                        ranks: errors.map { rankNeeded(tails, error: $0) }, weightedDifference: weightedTails?[0],
                        weightedRanks: weightedTails.map { tails in errors.map { rankNeeded(tails, error: $0) } } ?? [],
                        elementType: native.wholeType(of: place)))
            }
            try meter.advance()
        }
    }
    return records
}

/// Weights that `analyseSharing` looks at: how many records it gives. Errors: as that.
public func sharingPairCount(_ model: any Model, reach: Int?) throws(PruneError) -> Int {
    let native = try nativeModel(model, toShare: "weights")
    return try sharingPairs(native, reach: reach).values.joined().reduce(0) { $0 + $1.count }
}

/// By later sublayer, its weights in all earlier ones that it could share with.
private func sharingPairs(_ native: NativeModel, reach: Int?) throws(PruneError) -> [Int: [[SharingPlace]]] {
    if let reach, reach < 1 { throw PruneError(.argument, "reach is \(reach); it must be at least 1") }
    var pairs: [Int: [[SharingPlace]]] = [:]
    for sublayer in native.shape.present.kept {
        let first = reach.map { max(sublayer % 2, sublayer - 2 * min($0, sublayer)) } ?? sublayer % 2
        let own = stride(from: first, to: sublayer, by: 2)
            .compactMap { SharingPlace.places(of: sublayer, base: $0, in: native) }
        if !own.isEmpty { pairs[sublayer] = own }
    }
    return pairs
}
