// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

/// How families declare mixtures of experts.
@Suite struct MixtureRuleTests {
    /// Experts of each block; 0 where it is dense.
    func experts(_ name: String, _ changes: [String: String?] = [:]) throws -> [Int] {
        let config = try parseFamily(name, changes.merging(["num_hidden_layers": "4"]) { own, _ in own })
        return (0..<config.blockCount).map { config.mixture(ofBlock: $0)?.experts.count ?? 0 }
    }

    func mixture(_ name: String, _ changes: [String: String?] = [:]) throws -> MixturePlan {
        try #require(try parseFamily(name, changes).mixture(ofBlock: 0))
    }

    @Test(arguments: ["Qwen2MoeForCausalLM", "Qwen3MoeForCausalLM"])
    func someBlocksMayBeDense(_ name: String) throws {
        #expect(try experts(name) == [3, 3, 3, 3])
        #expect(try experts(name, ["mlp_only_layers": "[0, 2, 9]"]) == [0, 3, 0, 3])
        #expect(try experts(name, ["decoder_sparse_step": "2"]) == [0, 3, 0, 3])
        #expect(try experts(name, ["decoder_sparse_step": "3"]) == [0, 0, 3, 0])
        #expect(try experts(name, ["decoder_sparse_step": "2", "mlp_only_layers": "[1]"]) == [0, 0, 0, 3])
        #expect(try experts(name, ["num_experts": "0"]) == [0, 0, 0, 0])
        expectFault(.format, naming: "decoder_sparse_step", "at least 1") {
            _ = try experts(name, ["decoder_sparse_step": "0"])
        }
        expectFault(.format, naming: "mlp_only_layers", "array") { _ = try experts(name, ["mlp_only_layers": "1"]) }
        // A dense block has the size of the others' feed-forward, not of an expert.
        let config = try parseFamily(name, ["decoder_sparse_step": "2"])
        #expect(config.feedForward(ofBlock: 0)?.down.inputs == 40)
        #expect(config.mixture(ofBlock: 1)?.experts[0].down.inputs == 8)
    }

    @Test(arguments: [
        ("Qwen2MoeForCausalLM", "num_experts", 60, 4), ("Qwen3MoeForCausalLM", "num_experts", 128, 8),
        ("OlmoeForCausalLM", "num_experts", 64, 8), ("MixtralForCausalLM", "num_local_experts", 8, 2),
        ("GraniteMoeForCausalLM", "num_local_experts", 8, 2), ("GptOssForCausalLM", "num_local_experts", 128, 4),
    ])
    func numbersThatAreLeftOut(_ name: String, _ key: String, _ experts: Int, _ chosen: Int) throws {
        let mixture = try mixture(name, [key: nil, "num_experts_per_tok": nil])
        #expect(mixture.experts.count == experts && mixture.chosenCount == chosen)
        #expect(mixture.router.outputs == experts && mixture.router.inputs == 24)
    }

    @Test func weightsAreDividedByTheirSumWhereTheFamilySaysSo() throws {
        for name in ["MixtralForCausalLM", "GraniteMoeForCausalLM", "GptOssForCausalLM"] {
            #expect(try mixture(name).isNormalised, "\(name)")
        }
        for name in ["Qwen2MoeForCausalLM", "Qwen3MoeForCausalLM", "OlmoeForCausalLM"] {
            #expect(try !mixture(name).isNormalised, "\(name)")
            #expect(try mixture(name, ["norm_topk_prob": "true"]).isNormalised, "\(name)")
        }
    }

    @Test func sharedExpertsStandBesideTheOthers() throws {
        let qwen = try mixture("Qwen2MoeForCausalLM")
        #expect(qwen.shared?.down.inputs == 16 && qwen.sharedGate?.outputs == 1)
        let granite = try mixture("GraniteMoeSharedForCausalLM")
        #expect(granite.shared?.down.inputs == 16 && granite.sharedGate == nil)
        // Both halves of one tensor.
        guard case .gated(let gate, let up) = granite.shared?.inputs else { return #expect(Bool(false)) }
        #expect(gate.weight.tensor == up.weight.tensor && gate.weight.first == 0 && up.weight.first == 16)
        #expect(try mixture("GraniteMoeSharedForCausalLM", ["shared_intermediate_size": "0"]).shared == nil)
        #expect(try mixture("MixtralForCausalLM").shared == nil)
    }

    @Test func expertsLieInTensorsOfTheirOwnOrOfAll() throws {
        let mixtral = try mixture("MixtralForCausalLM").experts[2]
        #expect(mixtral.down.weight.tensor == "model.layers.0.block_sparse_moe.experts.2.w2.weight")
        #expect(mixtral.down.weight.expert == nil && mixtral.activation == .silu)
        let granite = try mixture("GraniteMoeForCausalLM").experts[2]
        #expect(granite.down.weight.expert == 2 && granite.down.weight.shape == [3, 24, 40])
        let oss = try mixture("GptOssForCausalLM").experts[2]
        guard case .alternating(let both) = oss.inputs else { return #expect(Bool(false)) }
        #expect(both.outputs == 80 && both.weight.isTransposed && both.weight.expert == 2)
        #expect(both.bias?.shape == [3, 80] && both.bias?.expert == 2)
        #expect(oss.activation == .clamped(limit: 7, slope: 1.702))
        let other = try mixture("GptOssForCausalLM", ["swiglu_limit": "3", "swiglu_alpha": "2"]).experts[0]
        #expect(other.activation == .clamped(limit: 3, slope: 2))
    }

    @Test func numbersThatDoNotFitAreRefused() {
        func refused(_ kind: FailureKind, _ changes: [String: String?], naming word: String) {
            expectFault(kind, naming: word) { _ = try parseFamily("Qwen3MoeForCausalLM", changes) }
        }
        refused(.format, ["num_experts_per_tok": "4"], naming: "there are 3 experts")
        refused(.format, ["num_experts_per_tok": "0"], naming: "at least 1")
        refused(.format, ["num_experts": "-1"], naming: "at least 0")
        refused(.unsupported, ["num_experts": "4097"], naming: "4096")
        refused(.format, ["moe_intermediate_size": nil], naming: "moe_intermediate_size is missing")
        // More in all blocks than any model has would take all memory to plan.
        refused(.unsupported, ["num_experts": "4096", "num_hidden_layers": "4096"], naming: "experts in all")
    }

    @Test func onlyTheChosenExpertsAreActive() throws {
        let model = try randomModel("Qwen2MoeForCausalLM", familySizes("Qwen2MoeForCausalLM"))
        let cost = model.shape.sublayers[1]
        // One of three experts is idle: three matrices of 8 x 24.
        #expect(cost.activeParameters == cost.parameters - 3 * 8 * 24)
        #expect(model.shape.sublayers[0].activeParameters == model.shape.sublayers[0].parameters)
        let all = model.shape.cost(under: KeepMask(blocks: 2))
        #expect(all.activeParameters == all.parameters - 2 * 3 * 8 * 24)
        let fewer = model.shape.cost(under: KeepMask(blocks: 2).removing(unit: 1, .sublayer))
        #expect(fewer.activeParameters == fewer.parameters - 3 * 8 * 24)
    }
}
