// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    import Glibc
#endif

/// Rotary position embedding: base and scaling rule.
///
/// Pair d of a head turns by position * inverseFrequencies[d] radians, and cos and sin are multiplied by
/// `attentionFactor`. Source of the formulas: `modeling_rope_utils.py` of Hugging Face transformers 5.
public struct RotaryParameters: Sendable, Equatable {
    /// `rope_theta`: pair d of the unscaled embedding has inverse frequency base^(-2d / headSize).
    let base: Double
    let scaling: Scaling

    /// How the frequencies are changed for contexts longer than those of the first training.
    enum Scaling: Sendable, Equatable {
        /// Type "default".
        case none
        /// All frequencies divided by `factor`.
        case linear(factor: Double)
        case llama3(Llama3)
        case yarn(YaRN)
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

    /// headSize / 2 inverse frequencies, in radians per position.
    func inverseFrequencies(headSize: Int) -> [Double] {
        let plain = stride(from: 0, to: max(headSize, 0), by: 2).map { 1 / pow(base, Double($0) / Double(headSize)) }
        switch scaling {
        case .none: return plain
        case .linear(let factor): return plain.map { $0 / factor }
        case .llama3(let rule): return plain.map(rule.scale)
        case .yarn(let rule): return rule.scale(plain, base: base)
        }
    }

    /// Factor on cos and sin: that of YaRN, 1 otherwise.
    var attentionFactor: Double {
        if case .yarn(let rule) = scaling { rule.attentionFactor } else { 1 }
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
