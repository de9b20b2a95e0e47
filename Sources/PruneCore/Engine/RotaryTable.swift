// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// Cosines and sines of the rotary embedding for positions 0 ..< count.
final class RotaryAngles: Sendable {
    /// count * half values each, one row per position, scaled by the attention factor.
    let cosines: FloatBuffer
    let sines: FloatBuffer
    let count: Int

    /// Errors: `.memory`.
    fileprivate init(_ parameters: RotaryParameters, length: Int, count: Int) throws(PruneError) {
        // Frequencies and angles are rounded to fp32 as transformers does: models are trained with these angles, and at
        // position 10,000 the rounding moves them by up to 1e-3 radians.
        let frequencies = parameters.inverseFrequencies(length: length).map { Float($0) }
        let factor = parameters.attentionFactor
        cosines = try FloatBuffer(count: count * frequencies.count)
        sines = try FloatBuffer(count: count * frequencies.count)
        self.count = count
        for position in 0..<count {
            for (index, frequency) in frequencies.enumerated() {
                let (place, angle) = (position * frequencies.count + index, Double(Float(position) * frequency))
                cosines.pointer[place] = Float(cos(angle) * factor)
                sines.pointer[place] = Float(sin(angle) * factor)
            }
        }
    }
}

/// The rotary angles of some sublayers, made when the first sequence needs them and longer when a longer one comes.
final class RotaryTable: Sendable {
    let parameters: RotaryParameters
    /// By variant: those of sequences whose length changes nothing, and at most those of one other length.
    private let angles = Lock<[Int: RotaryAngles]>([:])

    init(_ parameters: RotaryParameters) { self.parameters = parameters }

    /// Angles for all positions of a sequence of `length` tokens, which may depend on how many they are. Errors: `.memory`.
    func angles(length: Int) throws(PruneError) -> RotaryAngles {
        let variant = parameters.variant(length: length)
        if let known = try? angles.withLock({ $0[variant] }), known.count >= length { return known }
        // Outside the lock, since a long table takes long. Two threads may make the same; either is right.
        let rows = (length + 255) / 256 * 256
        try Memory.require(
            rows.times(clamping: 8 * parameters.half + 16), for: "the angles of \(length) positions",
            "give shorter sequences")
        let longer = try RotaryAngles(parameters, length: length, count: rows)
        try? angles.withLock { angles in
            guard longer.count > angles[variant]?.count ?? 0 else { return }
            if variant != 0 { angles = angles.filter { $0.key == 0 } }
            angles[variant] = longer
        }
        return longer
    }
}
