// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

/// Where blocks have their norms, and what these are.
@Suite struct NormTypeTests {
    @Test func layerNormScalingWeakensLaterBlocks() throws {
        let config = try parseFamily("LlamaForCausalLM", ["norm_type": #""lns""#, "num_hidden_layers": "4"])
        for (index, plan) in config.sublayers.enumerated() {
            #expect(plan.before?.factor == 1 / Float(index / 2 + 1).squareRoot())
            #expect(plan.before?.kind == .rootMeanSquare && plan.after == nil && plan.last == nil)
        }
        #expect(config.sublayers[6].before?.factor == 0.5)
        #expect(config.head.norm?.factor == 1)
    }

    @Test func mixLNHasTheFirstNormsAfterTheSum() throws {
        let config = try parseFamily(
            "LlamaForCausalLM", ["norm_type": #""pre_post""#, "post_num": "2", "num_hidden_layers": "3"])
        for block in 0..<3 {
            let pair = (config.sublayers[2 * block], config.sublayers[2 * block + 1])
            if block < 2 {
                #expect(pair.0.before == nil && pair.1.before == nil)
                #expect(pair.0.last?.gains == ["model.layers.\(block).post_attention_layernorm.weight"])
                #expect(pair.1.last?.gains == ["model.layers.\(block).post_feedforward_layernorm.weight"])
            } else {
                #expect(pair.0.last == nil && pair.1.last == nil)
                #expect(pair.0.before?.gains == ["model.layers.2.input_layernorm.weight"])
                #expect(pair.1.before?.gains == ["model.layers.2.post_attention_layernorm.weight"])
            }
        }
        #expect(config.head.norm != nil)
    }

    @Test(arguments: ["pre", "rms", "RMSNorm"])
    func usualNormsMayBeNamed(_ type: String) throws {
        let config = try parseFamily("LlamaForCausalLM", ["norm_type": "\"\(type)\""])
        #expect(config.sublayers.allSatisfy { $0.before?.factor == 1 && $0.last == nil })
    }

    @Test func otherNormTypesAreRefused() {
        func refused(_ kind: FailureKind, _ changes: [String: String?], naming word: String) {
            expectFault(kind, naming: word) { _ = try parseFamily("LlamaForCausalLM", changes) }
        }
        refused(.unsupported, ["norm_type": #""post""#], naming: "norm_type is \"post\"")
        refused(.format, ["norm_type": #""pre_post""#], naming: "post_num is missing")
        refused(.format, ["norm_type": #""pre_post""#, "post_num": "-1"], naming: "post_num")
        refused(.unsupported, ["norm_type": #""pre_post""#, "post_num": "3"], naming: "post_num")
        refused(.format, ["norm_type": "3"], naming: "a string")
        expectFault(.unsupported, naming: "norm_type", "this family does not have") {
            _ = try parseFamily("MistralForCausalLM", ["norm_type": #""lns""#])
        }
    }

    @Test func aSmallOPTHasItsNormsAfterTheSums() throws {
        let usual = try parseFamily("OPTForCausalLM")
        #expect(usual.sublayers.allSatisfy { $0.before != nil && $0.last == nil } && usual.head.norm != nil)
        let post = try parseFamily("OPTForCausalLM", ["do_layer_norm_before": "false"])
        #expect(post.sublayers.allSatisfy { $0.before == nil && $0.last?.kind == .layer } && post.head.norm == nil)
        #expect(post.sublayers[1].last?.bias == "model.decoder.layers.0.final_layer_norm.bias")
    }

    @Test func normsWithoutNumbersAskForNoTensor() throws {
        let olmo = try parseFamily("OlmoForCausalLM")
        let plain = try parseFamily("OPTForCausalLM", ["layer_norm_elementwise_affine": "false"])
        for config in [olmo, plain] {
            #expect(config.sublayers.allSatisfy { $0.before?.gains == [] && $0.before?.bias == nil })
            #expect(config.head.norm?.gains == [])
        }
    }

    @Test func someFamiliesNormTheUpdatesToo() throws {
        for (name, hasBefore) in [
            ("Gemma2ForCausalLM", true), ("Gemma3ForCausalLM", true), ("Glm4ForCausalLM", true),
            ("Olmo2ForCausalLM", false), ("Olmo3ForCausalLM", false),
        ] {
            let config = try parseFamily(name)
            #expect(config.sublayers.allSatisfy { $0.after != nil && ($0.before != nil) == hasBefore }, "\(name)")
        }
    }

    @Test func parallelBlocksReadTheStateBeforeThem() throws {
        func isParallel(_ name: String, _ changes: [String: String?] = [:]) throws -> Bool {
            let config = try parseFamily(name, changes)
            #expect(!config.sublayers[0].readsBlockInput)
            return config.sublayers[1].readsBlockInput
        }
        for name in ["PhiForCausalLM", "CohereForCausalLM", "Cohere2ForCausalLM"] {
            #expect(try isParallel(name))
            let config = try parseFamily(name)
            // Both read one norm.
            #expect(config.sublayers[1].before?.gains == config.sublayers[0].before?.gains)
        }
        #expect(try isParallel("GPTNeoXForCausalLM"))
        #expect(try !isParallel("GPTNeoXForCausalLM", ["use_parallel_residual": "false"]))
        #expect(try !isParallel("StableLmForCausalLM"))
        #expect(try isParallel("StableLmForCausalLM", ["use_parallel_residual": "true"]))
    }
}
