// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// A Gaussian process over coalitions with the kernel k(S, T) = product over the players in one of S and T but not both of
/// rho_i: the more two coalitions differ, and in the players that matter, the less they have to do with each other.
///
/// Its mean is a sum of kernels at the known coalitions, and the Shapley value of a kernel is an integral of a polynomial
/// (Owen's multilinear extension), so the Shapley values of the mean are exact.
struct HammingProcess: Sendable {
    /// How alike coalitions stay that differ in a player, 0 < rho_i <= 1.
    let likeness: [Double]
    let noise: Double
    private let coalitions: [Coalition]
    /// (K + noise I)^-1 * values
    private let coefficients: [Double]
    /// Mean square of what each value differs from its prediction by all others.
    let leaveOneOutError: Double

    /// nil if the kernel's matrix is not positive definite.
    ///
    /// - Parameter wantsError: whether to compute `leaveOneOutError`, which costs as much as the rest thrice; else 0.
    init?(_ coalitions: [Coalition], _ values: [Double], likeness: [Double], noise: Double, wantsError: Bool) {
        var kernel = Self.kernel(coalitions, likeness)
        kernel.addToDiagonal(noise)
        self.init(coalitions, values, kernel, likeness: likeness, noise: noise, wantsError: wantsError)
    }

    private init?(
        _ coalitions: [Coalition], _ values: [Double], _ kernel: SquareMatrix, likeness: [Double], noise: Double,
        wantsError: Bool
    ) {
        guard let factor = CholeskyFactor(kernel) else { return nil }
        self.coalitions = coalitions
        self.likeness = likeness
        self.noise = noise
        coefficients = factor.solve(values)
        // The prediction of value i from the others differs from it by coefficient_i / inverse_ii.
        leaveOneOutError =
            wantsError
            ? zip(coefficients, factor.inverseDiagonal).reduce(0) { $0 + ($1.0 / $1.1) * ($1.0 / $1.1) }
                / Double(max(values.count, 1))
            : 0
    }

    /// The process whose leave-one-out error is lowest among those with likeness exp(-rate * strength_i ^ power): the rates
    /// say how fast likeness falls, the powers how much more it falls with the players that matter. nil if none does better
    /// than predicting 0.
    static func best(_ coalitions: [Coalition], _ values: [Double], strengths: [Double]) -> HammingProcess? {
        let middle = max(strengths.sorted()[strengths.count / 2], 1e-12)
        let relative = strengths.map { max($0, 1e-3 * (strengths.max() ?? 1)) / middle }
        var best: HammingProcess?
        var bestError = values.reduce(0) { $0 + $1 * $1 } / Double(max(values.count, 1))
        for rate in [0.02, 0.06, 0.2, 0.6] {
            for power in [0.0, 0.5, 1.0] {
                let likeness = relative.map { max(exp(-rate * pow($0, power)), 1e-6) }
                let kernel = kernel(coalitions, likeness)
                for noise in [1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 1] {
                    var noisy = kernel
                    noisy.addToDiagonal(noise)
                    guard
                        let process = HammingProcess(
                            coalitions, values, noisy, likeness: likeness, noise: noise, wantsError: true),
                        process.leaveOneOutError < bestError
                    else { continue }
                    best = process
                    bestError = process.leaveOneOutError
                }
            }
        }
        return best
    }

    private static func kernel(_ coalitions: [Coalition], _ likeness: [Double]) -> SquareMatrix {
        let logs = likeness.map { log($0) }
        var kernel = SquareMatrix(coalitions.count)
        for (i, a) in coalitions.enumerated() {
            for (j, b) in coalitions[...i].enumerated() {
                let value = exp(distance(a, b, logs))
                kernel[i, j] = value
                kernel[j, i] = value
            }
        }
        return kernel
    }

    /// Sum of `logs` over the players in which two coalitions differ.
    private static func distance(_ a: Coalition, _ b: Coalition, _ logs: [Double]) -> Double {
        var sum = 0.0
        for word in a.words.indices {
            var different = a.words[word] ^ b.words[word]
            while different != 0 {
                sum += logs[word * 64 + different.trailingZeroBitCount]
                different &= different - 1
            }
        }
        return sum
    }

    /// The mean of the process at a coalition.
    func callAsFunction(_ coalition: Coalition) -> Double {
        let logs = likeness.map { log($0) }
        return zip(coalitions, coefficients).reduce(0) { $0 + $1.1 * exp(Self.distance(coalition, $1.0, logs)) }
    }

    /// Shapley values of the mean: for each known coalition T,
    ///
    ///     phi_i of k(., T) = integral over p from 0 to 1 of (k_i(1) - k_i(0)) * product over j != i of (p k_j(1) + (1 - p) k_j(0))
    ///
    /// with k_j(x) = 1 if x says of player j what T says, else rho_j. The polynomial has degree n - 1 in p.
    func shapley() -> [Double] {
        let n = likeness.count
        let rule = gaussLegendre(min((n + 1) / 2 + 1, 40))
        var values = Array(repeating: 0.0, count: n)
        for (p, weight) in rule {
            let inside = likeness.map { p + (1 - p) * $0 }
            let outside = likeness.map { p * $0 + (1 - p) }
            for (coalition, coefficient) in zip(coalitions, coefficients) {
                var product = weight * coefficient
                for player in 0..<n { product *= coalition.contains(player) ? inside[player] : outside[player] }
                for player in 0..<n {
                    let isIn = coalition.contains(player)
                    let difference = isIn ? 1 - likeness[player] : likeness[player] - 1
                    values[player] += product / (isIn ? inside[player] : outside[player]) * difference
                }
            }
        }
        return values
    }
}

/// Nodes and weights of the Gauss-Legendre rule on [0, 1], exact for polynomials of degree 2 * count - 1.
func gaussLegendre(_ count: Int) -> [(node: Double, weight: Double)] {
    (0..<count).map { index in
        // Newton's method on the Legendre polynomial from the usual first guess.
        var x = cos(Double.pi * (Double(index) + 0.75) / (Double(count) + 0.5))
        var slope = 0.0
        for _ in 0..<100 {
            var (below, value) = (0.0, 1.0)
            for degree in 0..<count {
                (below, value) = (
                    value, (Double(2 * degree + 1) * x * value - Double(degree) * below) / Double(degree + 1)
                )
            }
            slope = Double(count) * (x * value - below) / (x * x - 1)
            let step = value / slope
            x -= step
            if abs(step) < 1e-15 { break }
        }
        return (node: (1 - x) / 2, weight: 1 / ((1 - x * x) * slope * slope))
    }
}
