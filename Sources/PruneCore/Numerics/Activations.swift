// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// gelu(x) = x * Phi(x) in its exact form, by the error function. Seldom used, so not vectorised.
func gaussianErrorLinearUnit(_ x: Float) -> Float {
    0.5 * x * (1 + erff(x * 0.70710678))
}

/// Its derivative: Phi(x) + x * phi(x).
func gaussianErrorLinearUnitSlope(_ x: Float) -> Float {
    0.5 * (1 + erff(x * 0.70710678)) + x * 0.39894228 * expf(-0.5 * x * x)
}
