// SPDX-License-Identifier: Apache-2.0
internal import CKernels

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// The running means of a gradient and of its square that AdamW keeps for every parameter.
struct GradientMoments: Sendable, Equatable {
    var first: [Float]
    var second: [Float]

    init(count: Int) {
        first = Array(repeating: 0, count: count)
        second = first
    }

    init(first: [Float], second: [Float]) {
        self.first = first
        self.second = second
    }
}

/// AdamW (Loshchilov and Hutter, arXiv 1711.05101): Adam with weight decay apart from the gradient.
struct AdamW: Sendable {
    static let beta1 = 0.9
    static let epsilon = 1e-8

    /// Of adapters, which train for a few hundred steps and forget faster than is usual.
    static let beta2 = 0.99
    /// As PyTorch has it.
    static let usualBeta2 = 0.999

    let weightDecay: Double
    /// Of the mean of squares.
    var beta2 = AdamW.beta2

    /// What the loop takes for one step: see `move`.
    ///
    /// - Parameter decays: whether weight decay is for the parameters.
    func rates(times scale: Double, learningRate: Double, step: Int, decays: Bool) -> kernel_adamw_rates {
        kernel_adamw_rates(
            gradient_scale: Float(scale), first: Float(1 - Self.beta1), second: Float(1 - beta2),
            shrinkage: decays ? Float(1 - learningRate * weightDecay) : 1,
            step: Float(learningRate / (1 - pow(Self.beta1, Double(step)))),
            root_scale: Float(1 / (1 - pow(beta2, Double(step))).squareRoot()), epsilon: Float(Self.epsilon))
    }

    /// Moves parameters one step down.
    ///
    /// - Parameters:
    ///   - decayed: those that weight decay is for.
    ///   - scale: what the gradient is multiplied by first.
    ///   - step: 1 for the first one.
    func move(
        _ parameters: inout [Float], decayed: Range<Int>, _ moments: inout GradientMoments, by gradient: [Float],
        times scale: Double, learningRate: Double, step: Int
    ) {
        let count = parameters.count
        precondition(gradient.count == count && moments.first.count == count && moments.second.count == count)
        let plain = rates(times: scale, learningRate: learningRate, step: step, decays: false)
        let shrinking = rates(times: scale, learningRate: learningRate, step: step, decays: true)
        parameters.withUnsafeMutableBufferPointer { parameters in
            moments.first.withUnsafeMutableBufferPointer { first in
                moments.second.withUnsafeMutableBufferPointer { second in
                    gradient.withUnsafeBufferPointer { gradient in
                        // Safe: all have `count` values, and the closures do not outlive the call.
                        guard let p = parameters.baseAddress, let m = first.baseAddress, let v = second.baseAddress,
                            let g = gradient.baseAddress
                        else { return }
                        for (range, rates) in [
                            (0..<decayed.lowerBound, plain), (decayed, shrinking), (decayed.upperBound..<count, plain),
                        ] {
                            let at = range.lowerBound
                            Kernels.stepAdamW(p + at, m + at, v + at, g + at, range.count, rates)
                        }
                    }
                }
            }
        }
    }
}
