#if canImport(Glibc)
internal import Glibc
#elseif canImport(Darwin)
internal import Darwin
#endif

/// gelu(x) = x * Phi(x) in its exact form, by the error function. Seldom used, so not vectorised.
func gaussianErrorLinearUnit(_ x: Float) -> Float {
    0.5 * x * (1 + erff(x * 0.70710678))
}
