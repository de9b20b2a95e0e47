// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// Cosines and sines of the rotary embedding for positions 0 ..< count.
final class RotaryAngles: Sendable {
    /// count * half values each, one row per position, scaled by the attention factor.
    let cosines: [Float]
    let sines: [Float]
    let count: Int

    fileprivate init(_ parameters: RotaryParameters, headSize: Int, count: Int) {
        // Frequencies and angles are rounded to fp32 as transformers does: models are trained with these angles, and at
        // position 10,000 the rounding moves them by up to 1e-3 radians.
        let frequencies = parameters.inverseFrequencies(headSize: headSize).map { Float($0) }
        var cosines: [Float] = []
        var sines: [Float] = []
        cosines.reserveCapacity(count * frequencies.count)
        sines.reserveCapacity(count * frequencies.count)
        for position in 0..<count {
            for frequency in frequencies {
                let angle = Double(Float(position) * frequency)
                cosines.append(Float(cos(angle) * parameters.attentionFactor))
                sines.append(Float(sin(angle) * parameters.attentionFactor))
            }
        }
        self.cosines = cosines
        self.sines = sines
        self.count = count
    }
}

/// The rotary angles of a model, made when the first sequence needs them and longer when a longer one comes.
final class RotaryTable: Sendable {
    private let parameters: RotaryParameters
    private let headSize: Int
    private let angles = Lock<RotaryAngles?>(nil)

    init(_ parameters: RotaryParameters, headSize: Int) {
        self.parameters = parameters
        self.headSize = headSize
    }

    /// Angles for at least `count` positions. Errors: `.memory`.
    func angles(positions count: Int) throws(PruneError) -> RotaryAngles {
        if let known = try? angles.withLock({ $0 }), known.count >= count { return known }
        // Outside the lock, since a long table takes long. Two threads may make the same; either is right.
        let rows = (count + 255) / 256 * 256
        try Memory.require(
            rows.times(clamping: 4 * headSize + 16), for: "the angles of \(count) positions", "give shorter sequences")
        let longer = RotaryAngles(parameters, headSize: headSize, count: rows)
        try? angles.withLock { angles in
            if longer.count > angles?.count ?? 0 { angles = longer }
        }
        return longer
    }
}
