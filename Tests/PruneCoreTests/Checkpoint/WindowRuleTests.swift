// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

/// How families declare sliding windows. Those of Llama, Mistral, Qwen2 and Qwen3 are in `CheckpointConfigTests`.
@Suite struct WindowRuleTests {
    func windows(_ name: String, blocks: Int = 4, _ changes: [String: String?] = [:]) throws -> [Int?] {
        try parseFamily(name, changes.merging(["num_hidden_layers": "\(blocks)"]) { own, _ in own }).windows
    }

    @Test(arguments: ["MixtralForCausalLM", "Phi3ForCausalLM", "Starcoder2ForCausalLM"])
    func everyBlockHasTheWindowThatIsGiven(_ name: String) throws {
        #expect(try windows(name) == [nil, nil, nil, nil])
        #expect(try windows(name, ["sliding_window": "null"]) == [nil, nil, nil, nil])
        #expect(try windows(name, ["sliding_window": "5"]) == [5, 5, 5, 5])
        expectFault(.format, naming: "sliding_window", "0") { _ = try windows(name, ["sliding_window": "0"]) }
    }

    @Test func everyBlockIfWindowsAreUsed() throws {
        let name = "Qwen3MoeForCausalLM"
        #expect(try windows(name, ["sliding_window": "5"]) == [nil, nil, nil, nil])
        let used: [String: String?] = ["use_sliding_window": "true"]
        #expect(try windows(name, used) == [4096, 4096, 4096, 4096])
        #expect(try windows(name, used.merging(["sliding_window": "null"]) { $1 }) == [nil, nil, nil, nil])
        #expect(try windows(name, used.merging(["sliding_window": "7"]) { $1 }) == [7, 7, 7, 7])
        expectFault(.unsupported, naming: "layer_types", name) {
            _ = try windows(name, blocks: 1, used.merging(["layer_types": #"["full_attention"]"#]) { $1 })
        }
    }

    @Test func everySecondBlockBeforeTheLastOnes() throws {
        func windows(_ changes: [String: String?]) throws -> [Int?] {
            try self.windows(
                "Qwen2MoeForCausalLM", blocks: 5,
                changes.merging(["use_sliding_window": "true", "sliding_window": "9"]) { own, _ in own })
        }
        #expect(try windows(["max_window_layers": "3"]) == [9, nil, 9, nil, nil])
        #expect(try windows(["max_window_layers": "0"]) == [nil, nil, nil, nil, nil])
        #expect(try windows([:]) == [9, nil, 9, nil, 9])
        #expect(try windows(["use_sliding_window": "false"]) == [nil, nil, nil, nil, nil])
        let types =
            #"["full_attention", "sliding_attention", "full_attention", "full_attention", "sliding_attention"]"#
        #expect(try windows(["layer_types": types, "max_window_layers": "3"]) == [nil, 9, nil, nil, 9])
    }

    @Test(
        arguments: [
            ("Gemma2ForCausalLM", [4096, nil, 4096, nil, 4096, nil, 4096]),
            ("Gemma3ForCausalLM", [4096, 4096, 4096, 4096, 4096, nil, 4096]),
            ("Cohere2ForCausalLM", [4096, 4096, 4096, nil, 4096, 4096, 4096]),
            ("Olmo3ForCausalLM", [4096, 4096, 4096, nil, 4096, 4096, 4096]),
            ("GptOssForCausalLM", [128, nil, 128, nil, 128, nil, 128]),
        ] as [(String, [Int?])])
    func allButEveryNth(_ name: String, _ wanted: [Int?]) throws {
        #expect(try windows(name, blocks: 7) == wanted)
        let short = try windows(name, blocks: 7, ["sliding_window": "5"])
        #expect(short == wanted.map { $0 == nil ? nil : 5 })
        #expect(try windows(name, blocks: 7, ["sliding_window": "null"]).allSatisfy { $0 == nil })
        let types = #"["full_attention", "sliding_attention", "sliding_attention"]"#
        #expect(try windows(name, blocks: 3, ["sliding_window": "5", "layer_types": types]) == [nil, 5, 5])
        expectFault(.format, naming: "layer_types has 3 entries") {
            _ = try windows(name, blocks: 4, ["layer_types": types])
        }
    }

    @Test func theStepIsGivenWhereTheFamilyHasAKeyForIt() throws {
        for name in ["Gemma3ForCausalLM", "Cohere2ForCausalLM"] {
            let windows = try windows(name, blocks: 5, ["sliding_window": "5", "sliding_window_pattern": "3"])
            #expect(windows == [5, 5, nil, 5, 5])
        }
        #expect(try windows("Olmo3ForCausalLM", ["sliding_window_pattern": "2"]) == [4096, 4096, 4096, nil])
        expectFault(.format, naming: "sliding_window_pattern", "at least 1") {
            _ = try windows("Gemma3ForCausalLM", ["sliding_window_pattern": "0"])
        }
    }

    @Test func blocksWhoseHeadsDoNotTurn() throws {
        let name = "SmolLM3ForCausalLM"
        let used: [String: String?] = ["use_sliding_window": "true", "sliding_window": "5"]
        #expect(try windows(name, blocks: 5, used) == [nil, nil, nil, 5, nil])
        #expect(try windows(name, used.merging(["no_rope_layer_interval": "2"]) { $1 }) == [nil, 5, nil, 5])
        #expect(try windows(name, used.merging(["no_rope_layers": "[0, 1, 1, 0]"]) { $1 }) == [5, nil, nil, 5])
        #expect(try windows(name, ["sliding_window": "5"]) == [nil, nil, nil, nil])
        #expect(try windows(name, ["use_sliding_window": "true"]) == [nil, nil, nil, nil])
        let types = #"["sliding_attention", "full_attention", "full_attention", "full_attention"]"#
        #expect(try windows(name, used.merging(["layer_types": types]) { $1 }) == [5, nil, nil, nil])
        expectFault(.format, naming: "layer_types", "use_sliding_window") {
            _ = try windows(name, ["layer_types": types])
        }
    }

    @Test(arguments: Architecture.supported.map(\.name))
    func listsOfTheWrongLengthAreRefused(_ name: String) {
        expectFault(.format, naming: "layer_types has 1 entries; the model has 2 blocks") {
            _ = try parseFamily(name, ["layer_types": #"["full_attention"]"#])
        }
    }
}
