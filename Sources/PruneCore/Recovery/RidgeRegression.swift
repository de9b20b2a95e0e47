// SPDX-License-Identifier: Apache-2.0
/// Least squares of an update u on an input x with a ridge, from their covariances (Hoerl and Kennard, 1970):
///
///     W = S_ux (S_xx + l I)^-1,    l = ridge * trace(S_xx) / width
///
/// so that u is about mean u + W (x - mean x). The ridge is thus relative to the mean variance of the input.
struct RidgeRegression {
    /// Ridges that are tried on held-out tokens.
    static let grid = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1]
    /// Where none is given and there is nothing to choose it by; also the one that directions are first taken at.
    static let usual = 1e-3
    /// Less is not told from none: rounding of the covariance could make it indefinite.
    static let least = 1e-10

    let covariances: SecondMoments

    private var width: Int { covariances.input.size }

    /// The factor of S_xx + l I, and the ridge in it. If that is not positive definite up to rounding, the ridge grows until
    /// it is. nil if the input does not vary: then only a bias can be told.
    func factor(ridge: Double) -> (factor: CholeskyFactor, ridge: Double)? {
        let variance = covariances.input.meanDiagonal
        guard variance > 0, variance.isFinite else { return nil }
        var ridge = max(ridge, Self.least)
        while ridge < 1e12 {
            var damped = covariances.input
            damped.addToDiagonal(ridge * variance)
            if let factor = CholeskyFactor(damped) { return (factor, ridge) }
            ridge *= 10
        }
        return nil
    }

    /// Mean squared error on tokens whose second moments about the means of the training tokens are `moments`, of
    /// predicting for each direction v the part v.u by w.x, less what it is without a prediction; one value per direction:
    ///
    ///     w^T H_xx w - 2 w^T H_xu v
    ///
    /// - Parameters:
    ///   - weights: the rows w.
    ///   - targets: the rows v^T H_ux, one for each of them.
    static func errors(of weights: [Double], _ targets: [Double], on moments: SecondMoments) -> [Double] {
        let width = moments.input.size
        guard width > 0 else { return [] }
        let products = BLAS.product(weights, moments.input.values, size: width)
        return stride(from: 0, to: weights.count, by: width).map { first in
            BLAS.dot(weights, products, first: first, count: width)
                - 2 * BLAS.dot(weights, targets, first: first, count: width)
        }
    }
}
