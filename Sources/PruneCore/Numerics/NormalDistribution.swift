// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// P(Z <= x) for a standard normal Z.
func normalDistribution(_ x: Double) -> Double { 0.5 * erfc(-x / 2.0.squareRoot()) }

/// The density of a standard normal at x.
func normalDensity(_ x: Double) -> Double { exp(-x * x / 2) / (2 * Double.pi).squareRoot() }

/// x with P(Z <= x) = p for a standard normal Z; infinite at 0 and 1. Newton's method from a logistic start.
func normalQuantile(_ p: Double) -> Double {
    guard p > 0 else { return -.infinity }
    guard p < 1 else { return .infinity }
    var x = max(-8, min(8, log(p / (1 - p)) / 1.702))
    for _ in 0..<100 {
        let step = (normalDistribution(x) - p) / max(normalDensity(x), 1e-300)
        x -= max(-1, min(1, step))
        if abs(step) < 1e-12 { break }
    }
    return x
}
