// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

@Suite struct AdamWTests {
    /// The formulas of the paper, in double, one parameter at a time.
    private struct Reference {
        var p: Double, m = 0.0, v = 0.0

        mutating func move(_ gradient: Double, rate: Double, decay: Double, step: Int) {
            m = AdamW.beta1 * m + (1 - AdamW.beta1) * gradient
            v = AdamW.beta2 * v + (1 - AdamW.beta2) * gradient * gradient
            var bias1 = 1.0
            var bias2 = 1.0
            for _ in 0..<step {
                bias1 *= AdamW.beta1
                bias2 *= AdamW.beta2
            }
            p -= rate * decay * p
            p -= rate * (m / (1 - bias1)) / ((v / (1 - bias2)).squareRoot() + AdamW.epsilon)
        }
    }

    @Test func theFirstStepIsTheLearningRate() {
        // m / (1 - beta1) = g and v / (1 - beta2) = g^2, whatever the betas: the step is the rate with the sign of g.
        var parameters: [Float] = [1, 1, 1]
        var moments = GradientMoments(count: 3)
        AdamW(weightDecay: 0).move(
            &parameters, decayed: 1..<3, &moments, by: [4, -0.5, 0], times: 1, learningRate: 0.25, step: 1)
        #expect(abs(parameters[0] - 0.75) < 1e-6 && abs(parameters[1] - 1.25) < 1e-6 && parameters[2] == 1)
    }

    @Test func weightDecayIsForItsRangeAlone() {
        var parameters: [Float] = [2, 2, 2, 2]
        var moments = GradientMoments(count: 4)
        AdamW(weightDecay: 0.5).move(
            &parameters, decayed: 1..<3, &moments, by: [0, 0, 0, 0], times: 1, learningRate: 0.1, step: 1)
        #expect(parameters == [2, 1.9, 1.9, 2])
    }

    @Test func manyStepsAgainstTheFormulas() {
        let count = 37
        var random = RandomSource(seed: 1, stream: 1)
        var parameters = (0..<count).map { _ in Float(random.unit()) }
        var moments = GradientMoments(count: count)
        var references = parameters.map { Reference(p: Double($0)) }
        for step in 1...50 {
            let gradient = (0..<count).map { _ in Float(random.unit() - 0.3) }
            let rate = 0.01 / Double(step)
            AdamW(weightDecay: 0.1).move(
                &parameters, decayed: 5..<30, &moments, by: gradient, times: 0.5, learningRate: rate, step: step)
            for index in 0..<count {
                references[index].move(
                    0.5 * Double(gradient[index]), rate: rate, decay: (5..<30).contains(index) ? 0.1 : 0, step: step)
            }
        }
        for index in 0..<count { #expect(abs(Double(parameters[index]) - references[index].p) < 1e-5) }
    }
}
