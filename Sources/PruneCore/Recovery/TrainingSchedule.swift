// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// The learning rate of every step: a line up to the highest, then what the shape says, for adapters half a cosine down.
struct TrainingSchedule: Sendable {
    /// What is left of the highest rate at the last step.
    static let floor = 0.0

    let highest: Double
    let warmupSteps: Int
    let steps: Int
    var shape = ScheduleShape.cosine

    init(_ options: TrainingOptions, kind: AdapterKind, width: Int) {
        highest = options.learningRate ?? Self.usualRate(kind, width: width)
        warmupSteps = options.warmupSteps ?? options.steps / 10
        steps = options.steps
    }

    init(_ options: HealingOptions) {
        highest = options.learningRate
        warmupSteps = options.warmupSteps ?? options.steps / 10
        steps = options.steps
        shape = options.schedule
    }

    /// - Parameter step: 1 ... steps.
    func learningRate(atStep step: Int) -> Double {
        if step <= warmupSteps { return highest * Double(step) / Double(warmupSteps) }
        // The last step still moves: line and cosine would end one step behind it.
        let share = Double(step - warmupSteps - 1) / Double(max(1, steps - warmupSteps))
        return switch shape {
        case .constant: highest
        case .linear: highest * (1 - share)
        case .cosine: highest * (Self.floor + (1 - Self.floor) * (1 + cos(Double.pi * share)) / 2)
        }
    }

    /// The width of the model on which rates were measured, a factor of about three apart, from either start; the best are
    /// below.
    private static let measuredWidth = 128

    /// A step of AdamW moves every weight by the rate, whatever the gradient. What a matrix makes of an input of `width`
    /// values moves as many times as far, so above that width its rate falls (Yang et al., arXiv 2203.03466, table 3).
    private static func usualRate(_ kind: AdapterKind, width: Int) -> Double {
        let share = Double(measuredWidth) / Double(max(measuredWidth, width))
        return switch kind {
        case .bias: 3e-2
        case .lowRank: 1e-2 * share
        case .linear: 3e-3 * share
        }
    }
}
