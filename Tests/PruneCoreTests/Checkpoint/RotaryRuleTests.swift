// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

#if canImport(Glibc)
    import Glibc
#endif

/// How families declare rotary embeddings, and what the types of them compute, by hand.
@Suite struct RotaryRuleTests {
    func rotations(_ name: String, blocks: Int = 4, _ changes: [String: String?] = [:]) throws -> [RotaryParameters?] {
        try parseFamily(name, changes.merging(["num_hidden_layers": "\(blocks)"]) { own, _ in own }).rotations
    }

    func rotary(_ name: String, _ changes: [String: String?] = [:]) throws -> RotaryParameters {
        try #require(try rotations(name, blocks: 1, changes)[0])
    }

    func expectNear(
        _ found: [Double], _ wanted: [Double], sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(found.count == wanted.count, sourceLocation: sourceLocation)
        for (found, wanted) in zip(found, wanted) {
            #expect(
                abs(found - wanted) <= 1e-12 * abs(wanted), "\(found), not \(wanted)", sourceLocation: sourceLocation)
        }
    }

    // MARK: Which blocks turn

    @Test func someFamiliesDoNotTurn() throws {
        for name in ["GPT2LMHeadModel", "OPTForCausalLM"] {
            #expect(try parseFamily(name).rotations == [nil, nil])
            // What would declare an embedding says nothing there.
            #expect(try parseFamily(name, ["rope_theta": "7"]).rotations == [nil, nil])
        }
    }

    @Test func blocksThatAListNames() throws {
        func turned(_ changes: [String: String?]) throws -> [Bool] {
            try rotations("SmolLM3ForCausalLM", blocks: 5, changes).map { $0 != nil }
        }
        #expect(try turned([:]) == [true, true, true, false, true])
        #expect(try turned(["no_rope_layer_interval": "2"]) == [true, false, true, false, true])
        #expect(try turned(["no_rope_layers": "[1, 0, 0, 1, 1]"]) == [true, false, false, true, true])
        #expect(try turned(["no_rope_layers": "[1, 1, 1, 1, 1, 0, 0]"]) == [true, true, true, true, true])
        expectFault(.format, naming: "no_rope_layers has 2 entries") { _ = try turned(["no_rope_layers": "[1, 0]"]) }
        expectFault(.format, naming: "no_rope_layer_interval") { _ = try turned(["no_rope_layer_interval": "0"]) }
    }

    @Test func blocksWithAWindow() throws {
        #expect(try rotations("Cohere2ForCausalLM").map { $0 != nil } == [true, true, true, false])
        #expect(try rotations("Cohere2ForCausalLM", ["sliding_window": "null"]).allSatisfy { $0 == nil })
        // As families have it whose models without windows turn everywhere.
        var rule = RotaryRule()
        rule.blocks = .windowed(orAll: true)
        let file = try ConfigObject.parse(Array("{}".utf8), path: "config.json")
        func turned(_ windows: [Int?]) throws -> [Bool] {
            try rule.read(file, headSize: 4, contextLength: 16, windows: windows).map { $0 != nil }
        }
        #expect(try turned([5, nil, 5]) == [true, false, true])
        #expect(try turned([nil, nil]) == [true, true])
    }

    @Test func neighboursTurnTogetherInSomeFamilies() throws {
        let neighbours = [
            "CohereForCausalLM", "Cohere2ForCausalLM", "Ernie4_5ForCausalLM", "GlmForCausalLM", "Glm4ForCausalLM",
            "HeliumForCausalLM",
        ]
        for architecture in Architecture.supported {
            guard let rotary = try parseFamily(architecture.name).rotary else { continue }
            #expect((rotary.pairing == .neighbours) == neighbours.contains(architecture.name), "\(architecture.name)")
        }
    }

    // MARK: Parameters by kind of block

    @Test func blocksWithAWindowHaveParametersOfTheirOwn() throws {
        let parameters = #"""
            {"full_attention": {"rope_type": "linear", "factor": 8, "rope_theta": 500},
             "sliding_attention": {"rope_type": "default", "rope_theta": 300}}
            """#
        for name in ["Gemma3ForCausalLM", "Olmo3ForCausalLM"] {
            let own = try rotations(
                name, blocks: 2,
                ["layer_types": #"["sliding_attention", "full_attention"]"#, "rope_parameters": parameters])
            #expect(own[0] == RotaryParameters(size: 6, pairing: .halves, base: 300, scaling: .none))
            #expect(own[1] == RotaryParameters(size: 6, pairing: .halves, base: 500, scaling: .linear(factor: 8)))
        }
    }

    @Test func oldFilesOfThoseFamiliesHaveKeysBesideOneObject() throws {
        let types = #"["sliding_attention", "full_attention"]"#
        let old: [String: String?] = [
            "layer_types": types, "rope_theta": "500", "rope_local_base_freq": "300",
            "rope_scaling": #"{"rope_type": "linear", "factor": 8}"#,
        ]
        let gemma = try rotations("Gemma3ForCausalLM", blocks: 2, old)
        #expect(gemma.map { $0?.base } == [300, 500])
        #expect(gemma[0]?.scaling == RotaryParameters.Scaling.none && gemma[1]?.scaling == .linear(factor: 8))
        // This one has one base, which is not scaled where there is a window.
        let olmo = try rotations("Olmo3ForCausalLM", blocks: 2, old)
        #expect(olmo[1]?.base == 500 && olmo[1]?.scaling == .linear(factor: 8))
        #expect(olmo[0]?.scaling == RotaryParameters.Scaling.none)
        expectFault(.unsupported, naming: "rope_scaling.type", "rope_type") {
            _ = try rotations(
                "Gemma3ForCausalLM", blocks: 2,
                old.merging(["rope_scaling": #"{"type": "linear", "factor": 8}"#]) { $1 })
        }
    }

    // MARK: Parts of heads

    @Test(arguments: [
        ("PhiForCausalLM", "partial_rotary_factor", 3), ("StableLmForCausalLM", "partial_rotary_factor", 1),
        ("GPTNeoXForCausalLM", "rotary_pct", 1), ("GlmForCausalLM", "partial_rotary_factor", 3),
        ("Phi3ForCausalLM", "partial_rotary_factor", 6),
    ])
    func aPartOfEachHeadTurns(_ name: String, _ key: String, _ usual: Int) throws {
        #expect(try rotary(name).size == usual)
        let own = try rotary(name, [key: "0.67"])
        #expect(own.size == 4 && own.half == 2)
        #expect(own.inverseFrequencies(length: 1) == [1, 0.01])
        // What the object says goes before it.
        #expect(try rotary(name, [key: "0.67", "rope_parameters": #"{"partial_rotary_factor": 0.34}"#]).size == 2)
        expectFault(.format, naming: key, "at most 1") { _ = try rotary(name, [key: "1.5"]) }
        expectFault(.unsupported, naming: "heads of even size") { _ = try rotary(name, [key: "0.1"]) }
    }

    @Test func headsOfOddSizeTurnInPartOrNotAtAll() throws {
        expectFault(.unsupported, naming: "head_dim is 7", "even size") {
            _ = try rotary("LlamaForCausalLM", ["head_dim": "7"])
        }
        #expect(try rotary("PhiForCausalLM", ["head_dim": "7"]).half == 2)
    }

    // MARK: Types

    @Test func aDynamicBaseGrowsWithTheSequence() throws {
        let own = try rotary(
            "LlamaForCausalLM",
            [
                "head_dim": "4", "max_position_embeddings": "8", "rope_theta": "10000",
                "rope_parameters": #"{"rope_type": "dynamic", "factor": 3}"#,
            ])
        #expect(own.scaling == .dynamic(factor: 3, context: 8))
        expectNear(own.inverseFrequencies(length: 8), [1, 1 / 100])
        // base * (3 * 16 / 8 - 2)^(4 / 2)
        expectNear(own.inverseFrequencies(length: 16), [1, 1 / 400])
        #expect(own.variant(length: 8) == 0 && own.variant(length: 9) != own.variant(length: 10))
        expectFault(.format, naming: "factor", "dynamic") {
            _ = try rotary(
                "LlamaForCausalLM", ["head_dim": "2", "rope_scaling": #"{"type": "dynamic", "factor": 2}"#])
        }
    }

    @Test func longRoPEHasDivisorsForShortAndLongSequences() throws {
        func own(_ name: String, _ more: String, _ changes: [String: String?] = [:]) throws -> RotaryParameters {
            try rotary(
                name,
                changes.merging([
                    "head_dim": "4",
                    "rope_scaling":
                        #"{"type": "longrope", "short_factor": [1, 2], "long_factor": [4, 8]\#(more)}"#,
                ]) { own, _ in own })
        }
        let long = try own("LlamaForCausalLM", #", "original_max_position_embeddings": 16"#)
        expectNear(long.inverseFrequencies(length: 16), [1, 0.01 / 2])
        expectNear(long.inverseFrequencies(length: 17), [1.0 / 4, 0.01 / 8])
        #expect(long.lastUnchangedLength == 16 && long.variant(length: 16) == 0 && long.variant(length: 17) == 1)
        // sqrt(1 + ln(64 / 16) / ln(16))
        expectNear([long.attentionFactor], [sqrt(1.5)])
        let factor = try own("LlamaForCausalLM", #", "original_max_position_embeddings": 16, "factor": 256"#)
        expectNear([factor.attentionFactor], [sqrt(3)])
        let given = try own("LlamaForCausalLM", #", "original_max_position_embeddings": 16, "attention_factor": 1.25"#)
        #expect(given.attentionFactor == 1.25)
        // Without an original context it is that of the model, and nothing is long.
        #expect(try own("LlamaForCausalLM", "").attentionFactor == 1)
        #expect(try own("LlamaForCausalLM", "").lastUnchangedLength == 64)
        // Phi-3 says it beside the object, or has 4096.
        #expect(try own("Phi3ForCausalLM", "", ["original_max_position_embeddings": "32"]).lastUnchangedLength == 32)
        #expect(try own("Phi3ForCausalLM", "").lastUnchangedLength == 4096)
    }

    @Test func phi3HasOtherNamesForLongRoPE() throws {
        for type in ["su", "yarn", "longrope"] {
            let own = try rotary(
                "Phi3ForCausalLM",
                ["rope_scaling": #"{"type": "\#(type)", "short_factor": [1, 1, 2], "long_factor": [2, 3, 4]}"#])
            guard case .longRoPE(let rule) = own.scaling else {
                Issue.record("\(type) gives \(own.scaling)")
                continue
            }
            #expect(rule.longFactors == [2, 3, 4])
        }
    }

    @Test func proportionalParametersTurnTheFirstPairs() throws {
        let own = try rotary(
            "LlamaForCausalLM",
            [
                "head_dim": "8", "rope_theta": "10000",
                "rope_parameters": #"{"rope_type": "proportional", "partial_rotary_factor": 0.5, "factor": 2}"#,
            ])
        #expect(own.size == 8 && own.half == 4)
        expectNear(own.inverseFrequencies(length: 1), [0.5, 0.05, 0, 0])
        let whole = try rotary(
            "LlamaForCausalLM", ["head_dim": "8", "rope_parameters": #"{"rope_type": "proportional"}"#])
        expectNear(whole.inverseFrequencies(length: 1), [1, 0.1, 0.01, 0.001])
    }

    /// gpt-oss turns by YaRN though no key says so.
    @Test func aFamilyMayHaveScalingThatNoKeyNames() throws {
        let own = try rotary("GptOssForCausalLM")
        guard case .yarn(let rule) = own.scaling else {
            Issue.record("\(own.scaling)")
            return
        }
        #expect(rule.factor == 32 && rule.originalContext == 4096 && rule.betaFast == 32 && rule.betaSlow == 1)
        #expect(!rule.truncates)
        expectNear([own.attentionFactor], [0.1 * log(32.0) + 1])
        #expect(try rotary("GptOssForCausalLM", ["rope_parameters": #"{"rope_theta": 5}"#]).scaling == .none)
    }
}
