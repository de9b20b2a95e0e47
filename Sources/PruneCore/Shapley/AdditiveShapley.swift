// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// Shapley values of f(S) = g(offset + sum over i in S of a_i), for any number of players, without sampling.
///
/// g is written as a parabola that has its slopes at both ends of the range of the sum, and a cosine series for the rest,
/// whose terms fall with the fourth power of their number since the rest is flat at the ends. The Shapley values of the
/// parabola are known. Those of a cosine follow from Owen's multilinear extension: under p, which lets each player in with
/// that probability, the mean of exp(i w sum) is a product over the players, so
///
///     phi_i = integral over p from 0 to 1 of  (exp(i w a_i) - 1) * product over j != i of (1 - p + p exp(i w a_j))
///
/// a polynomial in p, which the Gauss-Legendre rule integrates exactly.
func additiveShapley(_ strengths: [Double], offset: Double, _ g: (Double) -> Double) -> [Double] {
    let n = strengths.count
    let low = strengths.reduce(offset) { $0 + min($1, 0) }
    let width = strengths.reduce(0) { $0 + abs($1) }
    guard width > 1e-9 else { return strengths.map { _ in 0 } }
    let step = 1e-4 * width
    let slopeLow = (g(low + step) - g(low)) / step
    let slopeHigh = (g(low + width) - g(low + width - step)) / step
    // slope(x) = slopeLow + (slopeHigh - slopeLow) * (x - low) / width
    let curvature = (slopeHigh - slopeLow) / width
    let linear = slopeLow - curvature * low
    let total = strengths.reduce(0, +)
    var values = strengths.map { a in
        // Of the square of the sum: a^2 + 2 a (offset + half of all others).
        linear * a + curvature / 2 * (a * a + 2 * a * (offset + (total - a) / 2))
    }

    let terms = min(1024, 192 + Int(min(width, 1e6)) * 8)
    let samples = 2 * terms
    let rest = (0..<samples).map { index in
        let x = low + width * (Double(index) + 0.5) / Double(samples)
        return g(x) - linear * x - curvature / 2 * x * x
    }
    let rule = gaussLegendre(min((n + 1) / 2 + 1, 40))
    for term in 1..<terms {
        let angle = Double.pi * Double(term) / Double(samples)
        var coefficient = 0.0
        for (index, value) in rest.enumerated() { coefficient += value * cos(angle * (Double(index) + 0.5)) }
        coefficient *= 2 / Double(samples)
        let frequency = Double.pi * Double(term) / width
        addCosine(coefficient, frequency, strengths, phase: frequency * (offset - low), rule, to: &values)
    }
    return values
}

/// Adds coefficient * the Shapley values of cos(frequency * sum + phase).
private func addCosine(
    _ coefficient: Double, _ frequency: Double, _ strengths: [Double], phase: Double,
    _ rule: [(node: Double, weight: Double)], to values: inout [Double]
) {
    let n = strengths.count
    let turns = strengths.map { Complex(angle: frequency * $0) }
    let start = Complex(angle: phase)
    for (p, weight) in rule {
        let factors = turns.map { Complex(1 - p + p * $0.real, p * $0.imaginary) }
        // Products of all factors but one, from both sides: a factor may be 0, so nothing is divided.
        var after = Array(repeating: Complex(1, 0), count: n + 1)
        for player in (0..<n).reversed() { after[player] = after[player + 1] * factors[player] }
        var before = start
        for player in 0..<n {
            let others = before * after[player + 1]
            let change = Complex(turns[player].real - 1, turns[player].imaginary)
            values[player] += coefficient * weight * (others * change).real
            before = before * factors[player]
        }
    }
}

private struct Complex {
    let real: Double
    let imaginary: Double

    init(_ real: Double, _ imaginary: Double) {
        self.real = real
        self.imaginary = imaginary
    }

    init(angle: Double) { self.init(cos(angle), sin(angle)) }

    static func * (a: Complex, b: Complex) -> Complex {
        Complex(a.real * b.real - a.imaginary * b.imaginary, a.real * b.imaginary + a.imaginary * b.real)
    }
}
