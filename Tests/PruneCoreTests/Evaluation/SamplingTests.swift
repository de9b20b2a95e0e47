// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

#if canImport(Glibc)
    import Glibc
#endif

/// Temperature, top-k and top-p against their definitions, worked out by sorting everything.
@Suite struct SamplingTests {
    /// Probabilities by definition. Ties of top-k stay; among ties of top-p the first ones stay.
    func reference(_ logits: [Float], _ temperature: Double, _ topK: Int?, _ topP: Double) -> [Double] {
        let order = logits.indices.sorted { (logits[$1], $0) < (logits[$0], $1) }
        let least = topK.map { logits[order[min($0, logits.count) - 1]] } ?? -.infinity
        var weights = logits.map { $0 >= least ? exp((Double($0) - Double(logits.max()!)) / temperature) : 0 }
        let total = weights.reduce(0, +)
        var before = 0.0
        for place in order where weights[place] > 0 {
            let own = weights[place] / total
            weights[place] = topP == 1 || before < topP || place == order[0] ? own : 0
            before += own
        }
        let kept = weights.reduce(0, +)
        return weights.map { $0 / kept }
    }

    func weights(_ logits: [Float], _ sampling: Sampling) -> [Double] {
        var values = logits
        var span = values.mutableSpan
        sampling.weigh(&span)
        let total = values.reduce(0) { $0 + Double($1) }
        return values.map { Double($0) / total }
    }

    func draws(_ count: Int, _ seed: UInt64, scale: Double) -> [Float] {
        var random = RandomSource(seed: seed, stream: 9)
        return (0..<count).map { _ in Float((random.unit() - 0.5) * scale) }
    }

    @Test(arguments: [0.3, 1, 2.5], [nil, 1, 7, 400, 5000] as [Int?])
    func weightsAreTheirDefinition(_ temperature: Double, _ topK: Int?) throws {
        for (seed, topP) in [1.0, 0.9, 0.5, 0.05, 1e-9].enumerated() {
            let logits = draws(1000, UInt64(seed), scale: 12)
            let sampling = try Sampling(temperature: temperature, topK: topK, topP: topP)
            let found = weights(logits, sampling)
            let wanted = reference(logits, temperature, topK, topP)
            for (one, other) in zip(found, wanted) {
                #expect(abs(one - other) < 1e-5)
                #expect((one == 0) == (other == 0))
            }
        }
    }

    @Test func tiesOfTopKStayAndOfTopPTheFirst() throws {
        let logits: [Float] = [1, 3, 2, 3, 2, -0, 0, 2]
        let topK = weights(logits, try Sampling(temperature: 1, topK: 3))
        #expect(topK.map { $0 > 0 } == [false, true, true, true, true, false, false, true])
        let zeros = weights([-0, 0, -1], try Sampling(temperature: 1, topK: 1))
        #expect(zeros == [0.5, 0.5, 0])
        let topP = weights([0, 0, 0, 0], try Sampling(temperature: 1, topP: 0.5))
        #expect(topP == [0.5, 0.5, 0, 0])
    }

    @Test func extremesLeaveTheLargest() throws {
        let rows: [[Float]] = [[-3e38, 3e38, 0], [-1, 5, 5 - 1e-3], [7]]
        for logits in rows {
            let best = firstLargest(of: logits.span)
            for temperature in [1e-300, 1e-45, 1e-6] {
                let found = weights(logits, try Sampling(temperature: temperature))
                #expect(found[best] > 0.999999)
            }
        }
        let flat = weights([-3, 4, 0], try Sampling(temperature: 1e300))
        for value in flat { #expect(abs(value - 1.0 / 3) < 1e-6) }
    }

    @Test func greedyTakesTheFirstLargestAndNoRandomNumber() throws {
        var random = RandomSource(seed: 1, stream: 2)
        let greedy = try Sampling(temperature: 0, topK: 2, topP: 0.1)
        var logits: [Float] = [1, 4, 2, 4, -9]
        var span = logits.mutableSpan
        #expect(greedy.choose(from: &span, &random) == 1)
        var untouched = RandomSource(seed: 1, stream: 2)
        #expect(random.next() == untouched.next())
    }

    @Test func entriesHaveTheirShares() {
        let weights: [Float] = [0, 1, 0, 2, 1, 0]
        #expect(
            [0, 0.2499, 0.25, 0.7499, 0.75, 0.9999999].map { entry(of: weights.span, at: $0) } == [1, 1, 3, 3, 4, 4])
        #expect(entry(of: weights.span, at: 1) == 4)
    }

    @Test func drawsFollowTheWeights() throws {
        let logits: [Float] = [0, 1, 2, -1, 3, 0.5]
        let sampling = try Sampling(temperature: 1.5, topK: 5, topP: 0.95)
        let wanted = reference(logits, 1.5, 5, 0.95)
        var counts = Array(repeating: 0.0, count: logits.count)
        let total = 200_000
        for stream in 0..<total {
            var random = RandomSource(seed: 4, stream: UInt64(stream))
            var values = logits
            var span = values.mutableSpan
            counts[sampling.choose(from: &span, &random)] += 1
        }
        // Chi-square with at most 4 degrees of freedom: 23.5 is exceeded once in 10,000 seeds.
        var statistic = 0.0
        for (count, share) in zip(counts, wanted) {
            if share == 0 {
                #expect(count == 0)
            } else {
                statistic += (count - share * Double(total)) * (count - share * Double(total)) / (share * Double(total))
            }
        }
        #expect(statistic < 23.5)
    }

    @Test(
        arguments: [
            (-1, nil, 1, "temperature"), (.nan, nil, 1, "temperature"), (.infinity, nil, 1, "temperature"),
            (1, -1, 1, "top_k"), (1, 0, 1, "top_k"),
            (1, nil, -0.1, "top_p"), (1, nil, 0, "top_p"), (1, nil, 1.01, "top_p"), (1, nil, .nan, "top_p"),
        ] as [(Double, Int?, Double, String)])
    func badValuesAreNamed(_ temperature: Double, _ topK: Int?, _ topP: Double, _ name: String) {
        do {
            _ = try Sampling(temperature: temperature, topK: topK, topP: topP)
            Issue.record("\(name) was taken")
        } catch {
            #expect(error.kind == .argument && error.message.contains(name))
        }
    }
}
