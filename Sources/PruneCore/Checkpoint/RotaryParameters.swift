// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    import Glibc
#endif

/// Rotary position embedding: which values of a head turn, base, and scaling rule.
///
/// Pair d of a head turns by position * inverseFrequencies[d] radians, and cos and sin are multiplied by
/// `attentionFactor`. Source of the formulas: `modeling_rope_utils.py` of Hugging Face transformers 5.
public struct RotaryParameters: Sendable, Equatable {
    /// Values at the start of a head that turn; the others stay.
    let size: Int
    let pairing: Kernels.Pairing
    /// `rope_theta`: pair d of the unscaled embedding has inverse frequency base^(-2d / size).
    let base: Double
    let scaling: Scaling

    /// How the frequencies are changed for contexts longer than those of the first training.
    enum Scaling: Sendable, Equatable {
        /// Type "default".
        case none
        /// All frequencies divided by `factor`.
        case linear(factor: Double)
        /// A base that grows with sequences longer than the context.
        case dynamic(factor: Double, context: Double)
        case llama3(Llama3)
        case yarn(YaRN)
        case longRoPE(LongRoPE)
        /// Only the first pairs turn, with the frequencies that they have among all; all divided by `factor`.
        case proportional(pairs: Int, factor: Double)
    }

    /// Llama 3.1: long wavelengths are stretched by `factor`, short ones kept, those between blended.
    struct Llama3: Sendable, Equatable {
        let factor: Double
        let lowFrequencyFactor: Double
        let highFrequencyFactor: Double
        let originalContext: Double
    }

    /// YaRN, arXiv 2309.00071.
    struct YaRN: Sendable, Equatable {
        let factor: Double
        let originalContext: Double
        /// Rotations over the original context at and above which a pair is kept as it is.
        let betaFast: Double
        /// Rotations at and below which it is stretched in full.
        let betaSlow: Double
        /// Whether the ends of the ramp between are rounded outwards to whole pairs.
        let truncates: Bool
        /// Factor on cos and sin.
        let attentionFactor: Double
    }

    /// LongRoPE, arXiv 2402.13753: a divisor per pair, other ones for sequences longer than the original context.
    struct LongRoPE: Sendable, Equatable {
        let shortFactors: [Double]
        let longFactors: [Double]
        let originalContext: Int
        let attentionFactor: Double
    }

    /// Pairs that turn.
    var half: Int { (size + 1) / 2 }

    /// Inverse frequencies of all pairs, in radians per position, for a sequence of `length` tokens.
    func inverseFrequencies(length: Int) -> [Double] {
        switch scaling {
        case .none: return plain(base)
        case .linear(let factor): return plain(base).map { $0 / factor }
        case .dynamic(let factor, let context):
            let stretch = factor * max(Double(length), context) / context - (factor - 1)
            return plain(base * pow(stretch, Double(size) / Double(size - 2)))
        case .llama3(let rule): return plain(base).map(rule.scale)
        case .yarn(let rule): return rule.scale(plain(base), base: base)
        case .longRoPE(let rule):
            let factors = length > rule.originalContext ? rule.longFactors : rule.shortFactors
            return zip(plain(base), factors).map { $0 / $1 }
        case .proportional(let pairs, let factor):
            return plain(base).enumerated().map { $0 < pairs ? $1 / factor : 0 }
        }
    }

    private func plain(_ base: Double) -> [Double] {
        stride(from: 0, to: max(size, 0), by: 2).map { 1 / pow(base, Double($0) / Double(size)) }
    }

    /// Factor on cos and sin.
    var attentionFactor: Double {
        switch scaling {
        case .yarn(let rule): rule.attentionFactor
        case .longRoPE(let rule): rule.attentionFactor
        default: 1
        }
    }

    /// What the angles of a sequence of `length` tokens depend on besides the positions: equal numbers, equal angles.
    func variant(length: Int) -> Int {
        switch scaling {
        case .dynamic(_, let context): max(0, length - Int(context))
        case .longRoPE(let rule): length > rule.originalContext ? 1 : 0
        default: 0
        }
    }

    /// The longest sequence whose angles stay what they are as it grows; nil = any.
    var lastUnchangedLength: Int? {
        if case .longRoPE(let rule) = scaling { rule.originalContext } else { nil }
    }
}

extension RotaryParameters.Llama3 {
    /// The new inverse frequency for an unscaled one.
    fileprivate func scale(_ frequency: Double) -> Double {
        let wavelength = 2 * Double.pi / frequency
        if wavelength < originalContext / highFrequencyFactor { return frequency }
        if wavelength > originalContext / lowFrequencyFactor { return frequency / factor }
        let kept =
            (originalContext / wavelength - lowFrequencyFactor) / (highFrequencyFactor - lowFrequencyFactor)
        return (1 - kept) * frequency / factor + kept * frequency
    }
}

extension RotaryParameters.YaRN {
    /// The new inverse frequencies for the unscaled ones.
    fileprivate func scale(_ plain: [Double], base: Double) -> [Double] {
        let headSize = Double(2 * plain.count)
        /// The index of the pair, as a real number, that makes so many rotations over the original context.
        func pair(rotations: Double) -> Double {
            headSize * log(originalContext / (rotations * 2 * Double.pi)) / (2 * log(base))
        }
        var low = pair(rotations: betaFast)
        var high = pair(rotations: betaSlow)
        if truncates {
            low = low.rounded(.down)
            high = high.rounded(.up)
        }
        low = max(low, 0)
        high = min(high, headSize - 1)
        // As in transformers: a ramp of no width would divide by 0.
        if low == high { high += 0.001 }
        return plain.enumerated().map { index, frequency in
            let stretched = min(max((Double(index) - low) / (high - low), 0), 1)
            return frequency / factor * stretched + frequency * (1 - stretched)
        }
    }
}
