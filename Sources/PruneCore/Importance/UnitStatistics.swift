#if canImport(Glibc)
internal import Glibc
#elseif canImport(Darwin)
internal import Darwin
#endif
internal import CKernels

/// The static metrics of one unit (a sublayer or a block) as running sums over tokens, in double.
///
/// Sums of two disjoint sets of tokens add up to those of both: data can come in parts.
struct UnitStatistics: Sendable {
    private var tokens = 0
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

        mutating func add(_ pair: kernel_pair_sums, l1 norm1: Double, squares: Double) {
            guard squares > 0 else { return }
            tokens += 1
            l1 += pair.u1 / norm1
            l2 += (pair.uu / squares).squareRoot()
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
        var pair = kernel_pair_sums()
        kernel_add_pair_sums(Kernels.level, h, g, width, &pair)
        guard (pair.hh + pair.gg).isFinite else { return false }
        let cos = cosineSimilarity(dot: pair.hg, squares: pair.hh, pair.gg)
        tokens += 1
        cosine += 1 - cos
        angular += angularDistance(cos)
        l1 += pair.u1
        l2 += pair.uu.squareRoot()
        relativeToInput.add(pair, l1: pair.h1, squares: pair.hh)
        relativeToOutput.add(pair, l1: pair.g1, squares: pair.gg)
        return true
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
        case .magnitude, .leaveOneOutLoss, .leaveOneOutLogitL2: return nil
        }
    }
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
