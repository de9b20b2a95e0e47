// SPDX-License-Identifier: Apache-2.0
/// A Gaussian process over what is removed, fitted to damages: which exchanges are worth trying.
///
/// With x the removed units as zeros and ones, the kernel is
///
///     1 + x . y + pairs * (x . y)^2 + rest * likeness^(units in which x and y differ)
///
/// units that add up, pairs of units that do more or less damage together, and whatever else near removals share.
struct DamageModel {
    private let fitted: [Coalition]
    private let kernel: Kernel
    /// (K + noise I)^-1 * values, and the factor of K + noise I.
    private let coefficients: [Double]
    private let factor: CholeskyFactor
    private let mean: Double
    /// Of the damages; the process is fitted to damages over it.
    private let deviation: Double
    /// Variance of the process over that of its kernel.
    private let variance: Double

    private struct Kernel {
        let pairs: Double
        /// rest * likeness^d for d = 0 ... units.
        let nearness: [Double]

        init(pairs: Double, rest: Double, likeness: Double, units: Int) {
            self.pairs = pairs
            var nearness = [rest]
            for place in 0..<units { nearness.append(nearness[place] * likeness) }
            self.nearness = nearness
        }

        func callAsFunction(shared: Int, different: Int) -> Double {
            let product = Double(shared)
            return 1 + product + pairs * product * product + nearness[different]
        }

        /// Those among which leave-one-out error chooses.
        static func choices(units: Int) -> [Kernel] {
            [0.03, 0.3].flatMap { pairs in
                [0.03, 0.3].map { Kernel(pairs: pairs, rest: $0, likeness: 0.7, units: units) }
            }
        }
    }

    /// Relative to the variance of the damages: they are exact, but no matrix is.
    private static let noise = 1e-4

    /// Damages that the process is fitted to at most: its cost grows with their cube.
    static let most = 192

    /// nil if there are too few damages, or they do not differ.
    init?(_ damages: [(removal: Removal, damage: Double)]) {
        guard damages.count >= 3 else { return nil }
        let fitted = damages.map(\.removal.units)
        let values = damages.map(\.damage)
        let mean = values.reduce(0, +) / Double(values.count)
        let deviation = (values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count)).squareRoot()
        guard deviation > 0, deviation.isFinite else { return nil }
        let scaled = values.map { ($0 - mean) / deviation }
        let places = fitted.indices
        let sizes = fitted.map(\.size)
        var shared = Array(repeating: 0, count: fitted.count * fitted.count)
        for row in places {
            for column in 0...row { shared[row * fitted.count + column] = fitted[row].sharedCount(fitted[column]) }
        }
        var best: (error: Double, kernel: Kernel, factor: CholeskyFactor, coefficients: [Double], variance: Double)?
        for kernel in Kernel.choices(units: fitted[0].playerCount) {
            var matrix = SquareMatrix(fitted.count)
            for row in places {
                for column in 0...row {
                    let both = shared[row * fitted.count + column]
                    let value = kernel(shared: both, different: sizes[row] + sizes[column] - 2 * both)
                    matrix[row, column] = value
                    matrix[column, row] = value
                }
            }
            matrix.addToDiagonal(Self.noise)
            guard let factor = CholeskyFactor(matrix) else { continue }
            let coefficients = factor.solve(scaled)
            // What a value differs by from its prediction by the others is coefficient / inverse's diagonal.
            let diagonal = factor.inverseDiagonal
            let error = zip(coefficients, diagonal).reduce(0) { $0 + ($1.0 / $1.1) * ($1.0 / $1.1) }
            if let best, best.error <= error { continue }
            let variance = zip(coefficients, diagonal).reduce(0) { $0 + $1.0 * $1.0 / $1.1 } / Double(fitted.count)
            best = (error, kernel, factor, coefficients, variance)
        }
        guard let best, best.error.isFinite else { return nil }
        self.fitted = fitted
        self.mean = mean
        self.deviation = deviation
        kernel = best.kernel
        factor = best.factor
        coefficients = best.coefficients
        variance = best.variance
    }

    /// Expected damage of a removal.
    func expected(_ units: Coalition) -> Double {
        mean + deviation * zip(row(units), coefficients).reduce(0) { $0 + $1.0 * $1.1 }
    }

    /// Expected damage less `optimism` standard deviations: low where damage is low, and where little is known.
    func hopeful(_ units: Coalition, optimism: Double) -> Double {
        let row = row(units)
        let own = kernel(shared: units.size, different: 0)
        let known = zip(row, factor.solve(row)).reduce(0) { $0 + $1.0 * $1.1 }
        let deviations = (max(0, own - known) * variance).squareRoot()
        return expected(units) - optimism * deviation * deviations
    }

    private func row(_ units: Coalition) -> [Double] {
        let size = units.size
        return fitted.map { other in
            let both = units.sharedCount(other)
            return kernel(shared: both, different: size + other.size - 2 * both)
        }
    }
}
