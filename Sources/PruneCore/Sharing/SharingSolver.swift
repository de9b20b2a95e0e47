// SPDX-License-Identifier: Apache-2.0
/// Deltas in closed form: see `WeightDifference`.
struct SharingSolver {
    let model: NativeModel
    /// nil = matrices are compared as they are.
    let data: TokenData?
    let options: AdapterOptions
    /// Whether bases are scaled.
    let scaled: Bool
    let progress: ProgressMeter.Listener?
    private let mask: KeepMask
    private let groups: [[Int]]
    /// The moments that were gathered last, and of which group.
    private var known: (group: Int, moments: SublayerMoments)?

    /// - Parameter sublayers: those that are asked about, ascending.
    init(
        _ model: NativeModel, _ data: TokenData?, _ sublayers: [Int], _ options: AdapterOptions,
        scaled: Bool, _ progress: ProgressMeter.Listener?
    ) {
        self.model = model
        self.data = data
        self.options = options
        self.scaled = scaled
        self.progress = progress
        mask = model.shape.present
        groups = SublayerMoments.groups(sublayers, of: model, budget: options.statisticsBudget)
    }

    /// Calls `body` with each sublayer and the moments of its inputs, nil without data: as many passes over the data as the
    /// moments need room.
    mutating func forEachSublayer(
        _ body: (_ sublayer: Int, _ moments: SublayerMoments?) throws(PruneError) -> Void
    ) throws(PruneError) {
        for (index, group) in groups.enumerated() {
            let moments = try moments(ofGroup: index)
            for sublayer in group { try body(sublayer, moments) }
        }
    }

    private mutating func moments(ofGroup index: Int) throws(PruneError) -> SublayerMoments? {
        guard let data else { return nil }
        if let known, known.group == index { return known.moments }
        known = nil
        let batches = data.batches(of: options.batchTokens)
        let meter = ProgressMeter(
            stage: "moments", total: batches.count * ((groups[index].last ?? 0) + 1), listener: progress)
        let found = try SublayerMoments(model, batches, under: mask, groups[index], meter)
        known = (index, found)
        return found
    }

    /// The root of a weight's inputs' moments, with the ridge on their diagonal; nil without data, and where the inputs are 0.
    func root(_ place: SharingPlace, _ moments: SublayerMoments?) -> CholeskyFactor? {
        guard let own = moments?.of(place) else { return nil }
        return RidgeRegression(covariances: SecondMoments(input: own.mean, cross: [], update: 0))
            .factor(ridge: options.ridge ?? RidgeRegression.usual)?.factor
    }

    /// What holds for each of some weights, computed on all threads. Errors: those of `body`.
    func forEach<Result>(
        _ places: [SharingPlace], _ moments: SublayerMoments?,
        _ body: @escaping (SharingPlace, CholeskyFactor?) throws(PruneError) -> Result
    ) throws(PruneError) -> [Result] {
        let found = mapOnAllThreads(places) { place -> Swift.Result<Result, PruneError>? in
            do throws(PruneError) { return .success(try body(place, root(place, moments))) } catch {
                return .failure(error)
            }
        }
        return try (found ?? []).map { own throws(PruneError) in try own.get() }
    }

    /// The squares of the singular values of some weights' differences, over the square of each whole weight.
    func spectra(
        _ places: [SharingPlace], _ moments: SublayerMoments?
    ) throws(PruneError) -> [[Double]] {
        let (model, scaled) = (model, scaled)
        return try forEach(places, moments) { place, root throws(PruneError) in
            let difference = try model.difference(place, root: root, scaled: scaled)
            return try difference.spectrum().map { difference.whole > 0 ? $0 / difference.whole : 0 }
        }
    }

    /// Deltas of some weights, rounded to the type that they are stored in.
    func solve(
        _ places: [SharingPlace], ranks: [Int], _ moments: SublayerMoments?
    ) throws(PruneError) -> [SharedTensor] {
        let (model, scaled) = (model, scaled)
        let rank = Dictionary(uniqueKeysWithValues: zip(places.map(\.name), ranks))
        return try forEach(places, moments) { place, root throws(PruneError) in
            let difference = try model.difference(place, root: root, scaled: scaled)
            let (up, down) = try difference.factors(rank: min(rank[place.name] ?? 0, difference.mostRank))
            return try SharedTensor(
                place, wholeType: model.wholeType(of: place), scale: difference.scale, up: up, down: down,
                error: try difference.relativeError(of: up, down, moments?.of(place)?.mean))
        }
    }
}

extension WeightDifference {
    /// sqrt(E |(D - U V) x|^2 / E |W x|^2) of given factors, without a ridge; of the matrices, where there are no moments.
    func relativeError(of up: [Float], _ down: [Float], _ moments: SquareMatrix?) throws(PruneError) -> Double {
        let rank = up.count / max(outputs, 1)
        var rest = difference
        if rank > 0 {
            let product = BLAS.product(up.map(Double.init), down.map(Double.init), k: rank, columns: inputs)
            for index in rest.indices { rest[index] -= product[index] }
        }
        let whole = Self.squares(weight, in: moments)
        return whole > 0 ? (max(Self.squares(rest, in: moments), 0) / whole).squareRoot() : 0
    }

    private static func squares(_ rows: [Double], in moments: SquareMatrix?) -> Double {
        guard let moments else { return rows.reduce(0) { $0 + $1 * $1 } }
        let products = BLAS.product(rows, moments.values, size: moments.size)
        return BLAS.dot(rows, products, first: 0, count: rows.count)
    }
}

extension SharedTensor {
    /// - Parameters:
    ///   - wholeType: what the weight that it stands for is stored in.
    ///   - up, down: outputs x rank and rank x inputs; empty = the weight is the base.
    init(
        _ place: SharingPlace, wholeType: ElementType, scale: Float, up: [Float], down: [Float], error: Double?
    ) throws(PruneError) {
        let (outputs, inputs) = (place.projection.outputs, place.projection.inputs)
        let rank = up.count / max(outputs, 1)
        let type = Self.factorType(wholeType)
        func factor(_ name: String, _ values: [Float], _ shape: [Int]) throws(PruneError) -> StoredTensor {
            try .rounding(SharedForm.factorName(name, of: place.name), values, to: type, shape: shape)
        }
        self.init(
            sublayer: place.sublayer, baseSublayer: place.baseSublayer, projection: place.projection, base: place.base,
            scale: scale,
            factors: rank == 0
                ? nil : (up: try factor("up", up, [outputs, rank]), down: try factor("down", down, [rank, inputs])),
            error: error, elementType: wholeType, wholeBytes: wholeType.bytes(of: outputs * inputs))
    }
}
