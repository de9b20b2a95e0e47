// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// A row of logits as a distribution, q = softmax(logits), and the gradients of losses of it.
///
/// Exponentials are taken relative to the largest logit and summed in double over parts of fixed size. Each gradient takes
/// the place of the logits. Logits that are not finite give a loss that is not.
struct SoftmaxRow {
    /// Values that are summed in fp32.
    private static let part = 1024

    /// `count` >= 1 values, lent by the caller for as long as the row lives.
    private let logits: UnsafeMutablePointer<Float>
    private let count: Int
    private let top: Float
    /// Of exp(logit - top).
    private let sum: Double

    init(_ logits: UnsafeMutablePointer<Float>, _ count: Int) {
        self.logits = logits
        self.count = count
        let top = Kernels.maximum(logits, count)
        self.top = top
        sum = Self.total(count) { Double(Kernels.sumOfExponentials(logits + $0, shift: top, $1)) }
    }

    /// log(sum exp(logits))
    private var logSum: Double { log(sum) + Double(top) }

    /// -log q[token]. `token` is below `count`.
    func loss(of token: Int) -> Double { logSum - Double(logits[token]) }

    /// -log q[token], and weight * (q - one-hot(token)). `token` is below `count`.
    consuming func crossEntropy(of token: Int, weight: Float) -> Float {
        let loss = logSum - Double(logits[token])
        Kernels.exponentials(logits, shift: top, times: scale(weight), into: logits, count)
        logits[token] -= weight
        return Float(loss)
    }

    /// KL(p || q) with p that of `reference`, a row of as many logits, and weight * (q - p). With a and b the logits, the
    /// divergence is E_p[a - b] - logSumExp(a) + logSumExp(b).
    consuming func relativeEntropy(from reference: SoftmaxRow, weight: Float) -> Float {
        let difference = Self.total(count) {
            Double(
                Kernels.sumsOfExponentials(
                    reference.logits + $0, weighing: self.logits + $0, shift: reference.top, $1
                ).sum)
        }
        let loss = difference / reference.sum - reference.logSum + logSum
        Kernels.subtractExponentials(
            logits, shift: top, times: scale(weight), less: reference.logits, shift: reference.top,
            times: reference.scale(weight), count)
        return loss < 0 ? 0 : Float(loss)
    }

    /// The Jensen-Shannon divergence of p and q, p that of `reference`, and its gradient times the weight:
    /// weight / 2 * q * (log(q / m) - sum(q log(q / m))) with m = (p + q) / 2.
    consuming func divergence(from reference: SoftmaxRow, weight: Float) -> Float {
        // Differences are rounded after they are taken: where the two are near, they keep their digits.
        let (logSum, delta) = (Float(reference.logSum), Float(logSum - reference.logSum))
        let twice = Self.total(count) {
            Double(Kernels.divergence(reference.logits + $0, self.logits + $0, logSum: logSum, delta: delta, $1))
        }
        let mean =
            Self.total(count) {
                Double(
                    Kernels.sumOfLogShares(self.logits + $0, reference.logits + $0, shift: self.top, delta: delta, $1))
            } / sum
        Kernels.logShares(
            logits, reference.logits, shift: top, times: scale(weight) / 2, delta: delta, less: Float(mean), count)
        let loss = Float(twice / 2)
        return loss < 0 ? 0 : loss > largestDivergence ? largestDivergence : loss
    }

    /// What exp(logit - top) is multiplied by to be weight * q.
    private func scale(_ weight: Float) -> Float { Float(Double(weight) / sum) }

    /// The sum of what `body` gives for each part: its first index, and how many there are.
    private static func total(_ count: Int, _ body: (_ first: Int, _ count: Int) -> Double) -> Double {
        stride(from: 0, to: count, by: part).reduce(0) { $0 + body($1, min(part, count - $1)) }
    }
}
