// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

/// Feed-forwards of fewer neurons, against the same model whose other neurons meet zeros in down.
@Suite struct NarrowingTests {
    static let tokens: [Int32] = [3, 1, 30, 7, 7, 12, 0, 31, 5]
    static let kept = [0: [0, 3, 4, 11, 20, 39], 1: [1, 2, 3, 38]]

    func logits(_ model: NativeModel) throws -> [Float] {
        let data = try TokenData(tokens: Self.tokens, lengths: [Self.tokens.count], weights: nil)
        let found = try PruneCore.logits(model, data, under: model.shape.present)
        return (0..<Self.tokens.count * model.config.vocabularySize).map { found.pointer[$0] }
    }

    /// The weights of down of each block with zeros for neurons that go, by name.
    func zeroed(_ config: ModelConfig) throws -> [String: [Float]] {
        let samples = randomSamples(config)
        var weights: [String: [Float]] = [:]
        for (block, neurons) in Self.kept {
            let plan = try #require(config.feedForward(ofBlock: block))
            let sample = try #require(samples.first { $0.name == plan.down.weight.tensor })
            let columns = plan.down.weight.shape[1]
            weights[sample.name] = stride(from: 0, to: sample.bytes.count, by: 4).map { place in
                let index = place / 4
                let neuron = plan.down.weight.isTransposed ? index / columns : index % columns
                return neurons.contains(neuron)
                    ? sample.bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: place, as: Float.self) } : 0
            }
        }
        return weights
    }

    static let dense = FamilyVariant.all.filter { variant in
        Architecture.supported.contains { $0.name == variant.name && $0.mixture == nil }
    }

    @Test(arguments: dense)
    func narrowingIsZerosInDown(_ variant: FamilyVariant) throws {
        let model = try variant.model()
        let sizes = familySizes(variant.name).merging(["sliding_window": "5"]) { $1 }.merging(variant.changes) { $1 }
        let wanted = try logits(try randomModel(variant.name, sizes, weights: try zeroed(model.config)))
        let narrowed = try model.edited(by: [.narrow(FeedForwardNarrowing(kept: Self.kept))])
        let found = try logits(narrowed)
        #expect(found.count == wanted.count)
        for (found, wanted) in zip(found, wanted) { #expect(abs(found - wanted) <= 2e-4 * (1 + abs(wanted))) }
        #expect(narrowed.config.feedForwardSize == 6)
        #expect(narrowed.shape.parameterBytes < model.shape.parameterBytes)
        // What it does not change is shared with the model.
        #expect(narrowed.weights.embedding.tensor.bytes.baseAddress == model.weights.embedding.tensor.bytes.baseAddress)
    }

    @Test func oneMatrixOfGatesAndUpsKeepsTheirOrder() throws {
        let model = try FamilyVariant(name: "Phi3ForCausalLM").model()
        let plan = try #require(model.config.feedForward(ofBlock: 1))
        let cuts = try NarrowedFeedForward(plan, keeping: [1, 2, 38])
        #expect(cuts.cuts.map(\.kept) == [[1, 2, 38, 41, 42, 78], [1, 2, 38]])
        #expect(cuts.cuts.map(\.dimension) == [0, 1])
        guard case .gated(let gate, let up) = cuts.plan.inputs else {
            Issue.record("it has no gates")
            return
        }
        #expect([gate.weight.first, up.weight.first] == [0, 3])
        #expect(gate.weight.shape == [6, 24])
    }

    /// As gpt-oss stores it: gate, up, next gate.
    @Test func alternatingOutputsGoInPairs() throws {
        func projection(_ name: String, _ outputs: Int, _ inputs: Int) -> ProjectionPlan {
            ProjectionPlan(
                outputs: outputs, inputs: inputs, weight: .init(tensor: name, shape: [outputs, inputs]),
                bias: .init(tensor: name + "_bias", shape: [outputs]), absentBias: nil)
        }
        let plan = FeedForwardPlan(
            inputs: .alternating(projection("both", 8, 3)), down: projection("down", 3, 4), activation: .silu)
        let narrowed = try NarrowedFeedForward(plan, keeping: [0, 2])
        #expect(narrowed.cuts.map(\.tensor) == ["both", "both_bias", "down"])
        #expect(narrowed.cuts.map(\.kept) == [[0, 1, 4, 5], [0, 1, 4, 5], [0, 2]])
        #expect(narrowed.plan.down.weight.shape == [3, 2])
        #expect(narrowed.plan.down.bias?.shape == [3])
    }

    @Test func documentsOfNarrowingAreReadAsTheyAreWritten() throws {
        let edits = [Edit.narrow(FeedForwardNarrowing(kept: [0: [0, 4], 11: [7]]))]
        let text = EditDocument.write(edits)
        #expect(text == #"[{"feed_forward": {"0": [0, 4], "11": [7]}, "kind": "narrow"}]"#)
        #expect(try EditDocument.read(text, source: "edits", blocks: 12) == edits)
        expectFault(.format, naming: "edits: edit 0", "not in ascending order") {
            _ = try EditDocument.read(
                #"[{"kind": "narrow", "feed_forward": {"0": [4, 1]}}]"#, source: "edits", blocks: 2)
        }
    }

    @Test func whatIsNotThereIsNotNarrowed() throws {
        let model = try randomModel()
        for (kept, words) in [
            ([5: [0]], "block 5"), ([0: [37]], "neuron 37 of block 0"), ([1: []], "no neurons of block 1"),
            ([0: [2, 2]], "ascending"),
        ] as [([Int: [Int]], String)] {
            expectFault(.argument, naming: "narrow", words) {
                _ = try model.edited(by: [.narrow(FeedForwardNarrowing(kept: kept))])
            }
        }
    }
}
