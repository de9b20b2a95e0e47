// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

@Suite struct MergedBlocksTests {
    /// Families whose weights are stored in different ways: apart, transposed and in one tensor, head by head, with biases,
    /// as the matrices of all experts.
    static let families = [
        "LlamaForCausalLM", "GPT2LMHeadModel", "GPTNeoXForCausalLM", "Qwen2ForCausalLM", "Phi3ForCausalLM",
        "OlmoeForCausalLM", "MixtralForCausalLM", "OPTForCausalLM", "Gemma2ForCausalLM",
    ]

    private static func model(_ family: String, _ changes: [String: String?] = [:]) throws -> NativeModel {
        let sizes = familySizes(family).merging(["num_hidden_layers": "4", "n_layer": "4"]) { $1 }
        return try randomModel(family, sizes.merging(changes) { $1 })
    }

    /// Elements of a tensor in fp32.
    private static func floats(_ tensor: StoredTensor) throws -> [Float] {
        let buffer = try StoredVector(tensor: tensor).floats(BufferPool())
        return Array(UnsafeBufferPointer(start: buffer.pointer, count: buffer.count))
    }

    /// Every tensor of a block by what its name is in block 0, matrices with their biases, and the rest.
    private static func tensors(_ model: NativeModel, _ block: Int) throws -> (merged: [[Float]], kept: [[Float]]) {
        var merged: [[Float]] = []
        var kept: [[Float]] = []
        for part in 0...1 {
            let names = Set(model.config.sublayers[2 * block + part].projectionPlaces.map(\.tensor))
            for tensor in model.weights.sublayers[2 * block + part].tensors {
                if names.contains(tensor.name) {
                    merged.append(try floats(tensor))
                } else {
                    kept.append(try floats(tensor))
                }
            }
        }
        return (merged, kept)
    }

    @Test(arguments: families) func mergesAreWeightedSumsOfMatricesAndBiases(_ family: String) throws {
        let model = try Self.model(family)
        for merge in [
            BlockMerge(into: 1, from: [2, 3], weight: 0.3),
            BlockMerge(into: 1, from: [2, 3], weight: 0.3, rule: .running),
            BlockMerge(into: 2, from: [0], weight: -0.5),
        ] {
            let edited = try model.merged(merge)
            let before = try ([merge.into] + merge.from).map { try Self.tensors(model, $0) }
            let after = try Self.tensors(edited, merge.into)
            #expect(after.kept == before[0].kept && !after.merged.isEmpty)
            for (index, values) in after.merged.enumerated() {
                for (place, value) in values.enumerated() {
                    let own = Double(before[0].merged[index][place])
                    var wanted = own
                    for other in before.dropFirst() {
                        let theirs = Double(other.merged[index][place])
                        wanted += merge.weight * (theirs - (merge.rule == .sum ? own : wanted))
                    }
                    #expect(abs(Double(value) - wanted) <= 1e-6 * max(1, abs(wanted)))
                }
            }
            for block in 0..<4 where block != merge.into {
                #expect(try Self.tensors(edited, block) == Self.tensors(model, block))
            }
        }
    }

    @Test(arguments: families) func aRunningMergeOfWeightOneLeavesTheLastBlocksMatricesBitForBit(_ family: String)
        throws
    {
        let model = try Self.model(family)
        let edited = try model.merged(BlockMerge(into: 0, from: [1, 2], weight: 1, rule: .running))
        let (top, low, made) = (try Self.tensors(model, 2), try Self.tensors(model, 0), try Self.tensors(edited, 0))
        #expect(made.merged.map { $0.map(\.bitPattern) } == top.merged.map { $0.map(\.bitPattern) })
        #expect(made.kept == low.kept)
        let one = try Self.tensors(try model.merged(BlockMerge(into: 0, from: [2], weight: 1)), 0)
        #expect(one.merged == top.merged)
    }

    @Test func editsAreAppliedInOrderAndRemembered() throws {
        let model = try Self.model("LlamaForCausalLM")
        let edits: [Edit] = [
            .merge(BlockMerge(into: 1, from: [2], weight: 0.5)), .merge(BlockMerge(into: 0, from: [1], weight: 1)),
        ]
        let edited = try model.edited(by: edits)
        #expect(edited.edits == edits)
        let (zero, one) = (try Self.tensors(edited, 0), try Self.tensors(edited, 1))
        #expect(zero.merged == one.merged)
        #expect(zero.merged != (try Self.tensors(model, 1).merged))
    }

    @Test func sharesOfZeroAreNotRead() throws {
        // inf * 0 would be NaN.
        let name = "model.layers.1.mlp.up_proj.weight"
        let values = [Float](repeating: .infinity, count: 24 * 37)
        let model = try randomModel("LlamaForCausalLM", ["num_hidden_layers": "3"], weights: [name: values])
        let edited = try model.merged(BlockMerge(into: 0, from: [1, 2], weight: 1, rule: .running))
        #expect(try Self.tensors(edited, 0).merged == Self.tensors(model, 2).merged)
    }

    @Test func whatTheModelDoesNotHaveIsRefused() throws {
        let model = try Self.model("LlamaForCausalLM")
        expectFault(.argument, naming: "block 4") { _ = try model.merged(BlockMerge(into: 0, from: [4], weight: 1)) }
        expectFault(.unsupported, naming: "host") {
            _ = try editedModel(WatchedModel.powers(blocks: 2), by: [.merge(BlockMerge(into: 0, from: [1], weight: 1))])
        }
    }

    @Test func blocksOfOtherShapesAreRefusedByName() throws {
        // The first blocks of these are dense, the others mixtures.
        let model = try Self.model(
            "Qwen3MoeForCausalLM", ["mlp_only_layers": "[0]", "decoder_sparse_step": "1"])
        expectFault(.unsupported, naming: "block 1 cannot be merged into block 0") {
            _ = try model.merged(BlockMerge(into: 0, from: [1], weight: 1))
        }
        #expect(!model.canMerge([0, 1]) && model.canMerge([1, 2]))
    }
}
