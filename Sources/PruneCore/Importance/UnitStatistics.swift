// SPDX-License-Identifier: Apache-2.0
internal import CKernels

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// The static metrics of one unit (a sublayer or a block) as running sums over tokens, in double.
///
/// Sums of two disjoint sets of tokens add up to those of both: data can come in parts.
struct UnitStatistics: Sendable {
    private(set) var tokens = 0
    private var cosine = 0.0
    private var angular = 0.0
    private var l1 = 0.0
    private var l2 = 0.0
    private var relativeToInput = RelativeSums()
    private var relativeToOutput = RelativeSums()

    /// Sums of ||u|| / ||h||. A token whose h is zero has no relative norm and is left out of the mean.
    private struct RelativeSums: Sendable {
        var tokens = 0
        var l1 = 0.0
        var l2 = 0.0

        mutating func add(_ update: kernel_norms, to state: kernel_norms) {
            guard state.squares > 0 else { return }
            tokens += 1
            l1 += update.absolutes / state.absolutes
            l2 += (update.squares / state.squares).squareRoot()
        }

        mutating func merge(_ other: RelativeSums) {
            tokens += other.tokens
            l1 += other.l1
            l2 += other.l2
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
        let distance = cosineDistance(squares: h.squares, g.squares, ofDifference: update.squares)
        tokens += 1
        cosine += distance
        angular += angularDistance(cosineDistance: distance)
        l1 += update.absolutes
        l2 += update.squares.squareRoot()
        relativeToInput.add(update, to: h)
        relativeToOutput.add(update, to: g)
    }

    /// Adds tokens that the unit leaves as they are.
    mutating func addUnchanged(tokens count: Int) {
        tokens += count
        relativeToInput.tokens += count
        relativeToOutput.tokens += count
    }

    mutating func merge(_ other: UnitStatistics) {
        tokens += other.tokens
        cosine += other.cosine
        angular += other.angular
        l1 += other.l1
        l2 += other.l2
        relativeToInput.merge(other.relativeToInput)
        relativeToOutput.merge(other.relativeToOutput)
    }

    /// Whether the tokens of both together can be counted: merging statistics with themselves doubles them every time.
    func canMerge(_ other: UnitStatistics) -> Bool { !tokens.addingReportingOverflow(other.tokens).overflow }

    /// The mean over tokens of a metric of states; nil for the others. 0 if there were no tokens.
    func value(_ metric: Metric, _ relativeTo: RelativeTo) -> Double? {
        let count = Double(max(tokens, 1))
        let relative = relativeTo == .input ? relativeToInput : relativeToOutput
        let relativeCount = Double(max(relative.tokens, 1))
        switch metric {
        case .cosine: return cosine / count
        case .angular: return angular / count
        case .l1: return l1 / count
        case .l2: return l2 / count
        case .relativeL1: return relative.l1 / relativeCount
        case .relativeL2: return relative.l2 / relativeCount
        case .magnitude, .leaveOneOutLoss, .leaveOneOutLogitL2, .taylor: return nil
        }
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
