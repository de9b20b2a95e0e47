// SPDX-License-Identifier: Apache-2.0
/// The best prediction of an update u by a matrix of rank r, in the metric of the ridge regression that it starts from
/// (Izenman, 1975; with a ridge: Mukherjee and Zhu, 2011): W is projected on the r leading directions of what it predicts,
///
///     V = leading eigenvectors of S_ux (S_xx + l I)^-1 S_xu,    matrix = V V^T W
///
/// Directions are orthogonal, so that errors add up over them: one regression tells those of every lower rank.
struct ReducedRankRegression {
    /// Ranks whose held-out error is within this share of the least are as good: the smallest is taken.
    static let tolerance = 0.01

    /// The directions, a row of `width` values each, leading first.
    let directions: [Double]
    /// For each direction v the row v^T W.
    let weights: [Double]
    /// The ridge in use, relative to the mean variance of the input.
    let ridge: Double

    /// nil if the input does not vary. Errors: `.internal` if LAPACK finds no eigenvectors.
    init?(_ regression: RidgeRegression, ridge: Double, rank: Int) throws(PruneError) {
        let covariances = regression.covariances
        let width = covariances.input.size
        guard let (factor, ridge) = regression.factor(ridge: ridge) else { return nil }
        guard let directions = leadingEigenvectors(of: factor.quadraticForm(covariances.cross), count: rank) else {
            throw PruneError(.internal, "the leading directions of an update were not found")
        }
        self.directions = directions
        self.ridge = ridge
        weights = factor.solve(BLAS.product(directions, covariances.cross, size: width))
    }

    /// Ridge and rank with the least error on held-out tokens; as ranks, `rank` alone, or powers of two up to the count of
    /// the directions.
    ///
    /// The directions are those of this regression at every ridge: they hardly depend on it.
    /// - Parameter heldOut: second moments about the means of the training tokens.
    func choice(
        _ regression: RidgeRegression, ridges: [Double], rank: Int?, heldOut: SecondMoments
    ) -> (ridge: Double, rank: Int)? {
        let width = heldOut.input.size
        let count = directions.count / max(width, 1)
        let ranks = rank.map { [$0] } ?? powersOfTwo(upTo: count)
        let own = BLAS.product(directions, regression.covariances.cross, size: width)
        let targets = BLAS.product(directions, heldOut.cross, size: width)
        let errors = mapOnAllThreads(ridges) { ridge -> [Double]? in
            guard let (factor, _) = regression.factor(ridge: ridge) else { return nil }
            let parts = RidgeRegression.errors(of: factor.solve(own), targets, on: heldOut)
            return ranks.map { parts.prefix($0).reduce(heldOut.update, +) }
        }
        guard let errors else { return nil }
        // Of each rank, the best ridge; ties go to the lower ones.
        let best = ranks.indices.compactMap { index in
            ridges.indices.min { errors[$0][index] < errors[$1][index] }
                .map { (error: errors[$0][index], ridge: ridges[$0], rank: ranks[index]) }
        }
        guard let least = best.map(\.error).min() else { return nil }
        let bound = least + Self.tolerance * abs(least)
        return best.first { $0.error <= bound }.map { ($0.ridge, $0.rank) }
    }
}

private func powersOfTwo(upTo most: Int) -> [Int] {
    (0..<Int.bitWidth - 2).map { 1 << $0 }.filter { $0 <= most }
}
