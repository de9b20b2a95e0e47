// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// A game as one evidence that adds up over the players and saturates:
///
///     f(S) = low + height * sigmoid(offset + sum over i in S of strength_i) ^ shape
///
/// Layer games are close to this: a model either works or has collapsed, and every layer moves it along one scale. It has
/// n + 4 parameters where a quadratic polynomial has n (n + 1) / 2 and more, so few coalitions do for it.
struct SaturatingModel: Sendable {
    var strengths: [Double]
    var offset: Double
    var low: Double
    var height: Double
    var shape: Double

    func callAsFunction(_ coalition: Coalition) -> Double {
        var evidence = offset
        for player in strengths.indices where coalition.contains(player) { evidence += strengths[player] }
        return value(evidence)
    }

    /// f at an evidence, the offset among it.
    func value(_ evidence: Double) -> Double { low + height * exp(shape * logSigmoid(evidence)) }

    /// Shapley values: by enumeration up to 12 players, by `additiveShapley` beyond.
    func shapley() -> [Double] {
        guard strengths.count <= 12 else { return additiveShapley(strengths, offset: offset, value) }
        var evidences = [offset]
        evidences.reserveCapacity(1 << strengths.count)
        for strength in strengths { evidences += evidences.map { $0 + strength } }
        return WorthTable(playerCount: strengths.count, worths: evidences.map(value)).shapley
    }

    /// Least squares by Levenberg's and Marquardt's method; strengths are drawn slightly together, so that players of which
    /// nothing is known get the mean.
    ///
    /// - Parameter start: where to begin, such as the fit to nearly the same worths; nil = from two places, the better counts.
    init(fitting coalitions: [Coalition], _ worths: [Double], from start: SaturatingModel? = nil) {
        let players = coalitions.first?.playerCount ?? 0
        let lowest = worths.min() ?? 0
        let range = max((worths.max() ?? 0) - lowest, 1e-12)
        let problem = SaturatingProblem(coalitions, worths.map { ($0 - lowest) / range }, players: players)
        let even = Array(repeating: 6.0 / Double(max(players, 1)), count: players)
        let starts: [[Double]]
        if let start {
            starts = [
                start.strengths + [start.offset, (start.low - lowest) / range, start.height / range, log(start.shape)]
            ]
        } else {
            starts = [even + [-3, 0, 1, 0], even + [-3, 0, 1, 1.5]]
        }
        let fits = starts.map { problem.minimise(from: $0, steps: start == nil ? 100 : 20) }
        let best = fits.min { $0.cost < $1.cost }?.parameters ?? starts[0]
        strengths = Array(best[..<players])
        offset = best[players]
        low = best[players + 1] * range + lowest
        height = best[players + 2] * range
        shape = exp(SaturatingProblem.logShape(best))
    }
}

/// log(1 / (1 + exp(-x))), without overflow.
func logSigmoid(_ x: Double) -> Double {
    x < 0 ? x - log1p(exp(x)) : -log1p(exp(-x))
}
