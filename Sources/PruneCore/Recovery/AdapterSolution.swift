// SPDX-License-Identifier: Apache-2.0
/// The closed form of one adapter.
struct AdapterSolution {
    let adapter: Adapter
    /// Relative to the mean variance of the input; nil for a bias, and where the input does not vary.
    let ridge: Double?
    /// 1 - error / variance on held-out tokens, with error the mean of |u - adapter(x)|^2 and variance that of
    /// |u - mean of u on these tokens|^2: 1 = exact, 0 = no better than their own mean, which a bias can at best be.
    /// nil if there are none, or their updates do not vary.
    let explained: Double?

    /// Solves for an adapter from the moments of at least one token.
    ///
    /// - Parameters:
    ///   - heldOut: what to choose by where ridge or rank are nil; its tokens may be none.
    ///   - options: kind, rank, mostRank and ridge are used, and checked before. Without held-out tokens rank is not nil.
    /// Errors: `.nonFinite` if the solution is beyond fp32; `.internal`.
    /// Proves that `count` adapters can be solved at once: covariances of both parts, and what each ridge that is tried makes
    /// of them. Errors: `.memory`.
    static func requireMemory(_ count: Int, width: Int, _ kind: AdapterKind, ridges: Int) throws(PruneError) {
        let matrices = kind == .bias ? 0 : 12 + 4 * ridges
        try Memory.require(
            count.times(clamping: (matrices * width + 64) * width * MemoryLayout<Double>.stride),
            for: "the solution of \(count) adapters of hidden size \(width)", "use biases, or fewer threads")
    }

    init(
        _ moments: UpdateMoments, heldOut: UpdateMoments?, _ slot: AdapterSlot, _ options: AdapterOptions
    ) throws(PruneError) {
        let width = moments.width
        try Self.requireMemory(
            1, width: width, options.kind, ridges: min(ThreadPool.threads, RidgeRegression.grid.count))
        let heldOut = heldOut.flatMap { $0.tokens > 0 ? $0 : nil }
        let held = heldOut?.secondMoments(aboutInput: moments.inputMean, update: moments.updateMean)
        let regression = RidgeRegression(covariances: moments.covariances)
        let choosesRidge = options.ridge == nil && held != nil
        let ridge = options.ridge ?? RidgeRegression.usual
        var directions: [Double]?
        var weights: [Double] = []
        var used: Double?
        switch options.kind {
        case .bias: break
        case .linear:
            let chosen =
                choosesRidge ? held.flatMap { regression.choice(ridges: RidgeRegression.grid, heldOut: $0) } : nil
            if let found = regression.factor(ridge: chosen ?? ridge) {
                weights = found.factor.solve(regression.covariances.cross)
                used = found.ridge
            }
        case .lowRank:
            let most = options.rank ?? min(options.mostRank, width)
            guard var found = try ReducedRankRegression(regression, ridge: ridge, rank: most) else { break }
            if let held, choosesRidge || options.rank == nil {
                let choice = found.choice(
                    regression, ridges: choosesRidge ? RidgeRegression.grid : [ridge], rank: options.rank, heldOut: held
                )
                if let choice, choice.ridge != ridge || choice.rank != most,
                    let better = try ReducedRankRegression(regression, ridge: choice.ridge, rank: choice.rank)
                {
                    found = better
                }
            }
            (directions, weights, used) = (found.directions, found.weights, found.ridge)
        }
        self.ridge = used
        var error = held?.update ?? 0
        if let held, !weights.isEmpty {
            let targets = directions.map { BLAS.product($0, held.cross, size: width) } ?? held.cross
            error = RidgeRegression.errors(of: weights, targets, on: held).reduce(error, +)
        }
        let variance = heldOut.map { $0.updateScatter / Double($0.tokens) } ?? 0
        explained = variance > 0 ? 1 - error / variance : nil

        let rank = directions.map { $0.count / max(width, 1) } ?? options.rank ?? 1
        var adapter = Adapter(options.kind, width: width, rank: rank, norm: slot.norm)
        adapter.set(bias: moments.updateMean, inputMean: moments.inputMean, weights: weights, directions: directions)
        guard adapter.parameters.allSatisfy(\.isFinite) else {
            throw PruneError(
                .nonFinite, "the closed form of \(sublayerName(slot.sublayer)) is beyond fp32; give a larger ridge")
        }
        self.adapter = adapter
    }
}

extension RidgeRegression {
    /// The ridge with the least error on held-out tokens; ties go to the lower one.
    ///
    /// - Parameter heldOut: second moments about the means of the training tokens.
    func choice(ridges: [Double], heldOut: SecondMoments) -> Double? {
        let errors = mapOnAllThreads(ridges) { ridge -> Double? in
            guard let (factor, _) = factor(ridge: ridge) else { return nil }
            return Self.errors(of: factor.solve(covariances.cross), heldOut.cross, on: heldOut).reduce(0, +)
        }
        guard let errors else { return nil }
        return ridges.indices.min { errors[$0] < errors[$1] }.map { ridges[$0] }
    }
}

extension Adapter {
    /// Directions whose share is below this part of the greatest are rounding.
    private static let negligible = 1e-12

    /// Makes the adapter x -> mean u + V W (x - mean x).
    ///
    /// - Parameters:
    ///   - weights: the rows of W; of `linear` those of the whole matrix; empty = none.
    ///   - directions: of `lowRank`, the columns of V, of norm 1, one for each row of W.
    /// Up and down get the same norm in each direction, so that they learn at the same pace if trained further.
    fileprivate mutating func set(bias mean: [Double], inputMean: [Double], weights: [Double], directions: [Double]?) {
        let rowCount = weights.count / max(width, 1)
        var bias = mean
        var norms: [Double] = []
        for row in 0..<rowCount {
            let shift = (0..<width).reduce(0.0) { $0 + weights[row * width + $1] * inputMean[$1] }
            norms.append(BLAS.dot(weights, weights, first: row * width, count: width).squareRoot())
            if let directions {
                for place in 0..<width { bias[place] -= directions[row * width + place] * shift }
            } else {
                bias[row] -= shift
            }
        }
        for place in 0..<width { parameters[place] = Float(bias[place]) }
        guard let directions else {
            for (place, weight) in weights.enumerated() { parameters[matrixRange.lowerBound + place] = Float(weight) }
            return
        }
        let least = Self.negligible * (norms.max() ?? 0)
        for row in 0..<min(rowCount, rank) where norms[row] > least {
            let root = norms[row].squareRoot()
            for place in 0..<width {
                parameters[downRange.lowerBound + row * width + place] = Float(weights[row * width + place] / root)
                parameters[upRange.lowerBound + place * rank + row] = Float(directions[row * width + place] * root)
            }
        }
    }
}
