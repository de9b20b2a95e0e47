// SPDX-License-Identifier: Apache-2.0
internal import CKernels

/// The loops of attention beside softmax: turns of heads, and caps of scores.
extension Kernels {
    /// Which values of a head turn together. The raw values are stored nowhere.
    enum Pairing: Sendable {
        /// x[i] and x[i + half].
        case halves
        /// x[2i] and x[2i + 1].
        case neighbours
    }

    /// Turns pairs by the angles whose cosines and sines are given.
    static func rotate(
        _ x: UnsafeMutablePointer<Float>, _ pairing: Pairing, cosine: UnsafePointer<Float>, sine: UnsafePointer<Float>,
        half: Int
    ) {
        switch pairing {
        case .halves: kernel_rotate(level, x, cosine, sine, half)
        case .neighbours: kernel_rotate_neighbours(level, x, cosine, sine, half)
        }
    }

    /// Turns the pairs the other way: from the gradient of `rotate`'s results to that of what it took.
    static func rotateBack(
        _ x: UnsafeMutablePointer<Float>, _ pairing: Pairing, cosine: UnsafePointer<Float>, sine: UnsafePointer<Float>,
        half: Int
    ) {
        switch pairing {
        case .halves: kernel_rotate_back(level, x, cosine, sine, half)
        case .neighbours: kernel_rotate_neighbours_back(level, x, cosine, sine, half)
        }
    }

    /// x[i] = cap * tanh(x[i] / cap)
    static func cap(_ x: UnsafeMutablePointer<Float>, at cap: Float, _ count: Int) {
        kernel_soft_cap(level, x, cap, count)
    }

    /// From the gradient d of capped values x: puts that with respect to what was capped in its place.
    static func capPullback(
        _ x: UnsafePointer<Float>, _ d: UnsafeMutablePointer<Float>, cap: Float, _ count: Int
    ) {
        kernel_soft_cap_pullback(level, x, d, cap, count)
    }

    /// Softmax over `count` >= 1 values and one more, `sink`, of which nothing is kept. In place.
    static func softmax(_ x: UnsafeMutablePointer<Float>, beside sink: Float, _ count: Int) {
        kernel_softmax_beside(level, x, sink, count)
    }
}
