// SPDX-License-Identifier: Apache-2.0
internal import CKernels

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// The metrics of states of one unit (a sublayer or a block) as running means over tokens, in double.
///
/// Sums of two disjoint sets of tokens add up to those of both: data can come in parts.
struct UnitStatistics: Sendable {
    private(set) var tokens = 0
    /// In the order of `Kind.all`.
    private var means = [Mean](repeating: Mean(), count: Kind.all.count)

    private struct Mean: Sendable {
        var tokens = 0
        var sum = 0.0
    }

    /// A mean that is kept: of a metric, and of a relative one for either state that it is relative to.
    private struct Kind: Sendable {
        let metric: Metric
        let relativeTo: RelativeTo?

        static let all: [Kind] = Metric.ofStates.flatMap { metric in
            let relativeTo: [RelativeTo?] = metric.facts.source == .statesRelative ? [.input, .output] : [nil]
            return relativeTo.map { Kind(metric: metric, relativeTo: $0) }
        }
    }

    /// Adds one token with the hidden states h before and g after the unit, `width` values each.
    ///
    /// Returns false, and adds nothing, if one of the values is not finite.
    mutating func add(_ h: UnsafePointer<Float>, _ g: UnsafePointer<Float>, width: Int) -> Bool {
        let norms = kernel_pair(Kernels.level, h, g, width)
        guard (norms.before.squares + norms.after.squares).isFinite else { return false }
        add(before: norms.before, after: norms.after, update: norms.update)
        return true
    }

    /// Adds one token, given the norms of its states, which are finite, and of their difference.
    mutating func add(before h: kernel_norms, after g: kernel_norms, update: kernel_norms) {
        tokens += 1
        var token = TokenNorms(before: h, after: g, update: update)
        let kinds = Kind.all
        // Safe: there is a mean for each kind.
        means.withUnsafeMutableBufferPointer { means in
            for index in 0..<means.count {
                let kind = kinds[index]
                if let relativeTo = kind.relativeTo {
                    token.divisor = relativeTo == .input ? h : g
                    guard token.divisor.squares > 0 else { continue }
                }
                means[index].tokens += 1
                means[index].sum += kind.metric.value(token)
            }
        }
    }

    /// Adds tokens that the unit leaves as they are.
    mutating func addUnchanged(tokens count: Int) {
        tokens += count
        for index in means.indices { means[index].tokens += count }
    }

    mutating func merge(_ other: UnitStatistics) {
        tokens += other.tokens
        for index in means.indices {
            means[index].tokens += other.means[index].tokens
            means[index].sum += other.means[index].sum
        }
    }

    /// Whether the tokens of both together can be counted: merging statistics with themselves doubles them every time.
    func canMerge(_ other: UnitStatistics) -> Bool { !tokens.addingReportingOverflow(other.tokens).overflow }

    /// The mean over tokens of a metric of states; nil for the others. 0 if there were no tokens.
    func value(_ metric: Metric, _ relativeTo: RelativeTo) -> Double? {
        let index = Kind.all.firstIndex { $0.metric == metric && ($0.relativeTo ?? relativeTo) == relativeTo }
        return index.map { means[$0].sum / Double(max(means[$0].tokens, 1)) }
    }
}

/// 1 - cos(h, g) from h.h, g.g and u.u with u = g - h, to the last digits however near 1 the cosine is.
///
/// With a = |h| and b = |g|: u.u = a^2 + b^2 - 2ab cos, so 1 - cos = (u.u - (b - a)^2) / 2ab; and b - a comes from the
/// squares, without the rounding of the roots. If both are zero nothing changed: 0; if one is: 1. Held to [0, 2].
func cosineDistance(squares hh: Double, _ gg: Double, ofDifference uu: Double) -> Double {
    if hh == 0 || gg == 0 { return hh == gg ? 0 : 1 }
    let a = hh.squareRoot()
    let b = gg.squareRoot()
    let growth = (gg - hh) / (a + b)
    return min(2, max(0, (uu - growth * growth) / (2 * a * b)))
}

/// arccos(1 - d) / pi: 0 for the same direction, 1 for the opposite one. Half the angle has sine sqrt(d / 2) and cosine
/// sqrt(1 - d / 2); the arccosine itself would lose half of the digits of a small d.
func angularDistance(cosineDistance d: Double) -> Double {
    2 * atan2(d.squareRoot(), (2 - d).squareRoot()) / Double.pi
}

/// cos(h, g) from h.g, h.h and g.g; 1 if both are zero (nothing changed), 0 if one is. Held to [-1, 1].
func cosineSimilarity(dot: Double, squares hh: Double, _ gg: Double) -> Double {
    if hh == 0 || gg == 0 { return hh == gg ? 1 : 0 }
    return min(1, max(-1, dot / (hh.squareRoot() * gg.squareRoot())))
}

/// arccos(cos) / pi: 0 for the same direction, 1 for the opposite one.
func angularDistance(_ cosine: Double) -> Double {
    acos(cosine) / Double.pi
}
