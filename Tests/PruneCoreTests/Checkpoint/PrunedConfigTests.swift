// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

/// What the notations of pruned models say, and what is wrong with those that say something else.
@Suite struct PrunedConfigTests {
    private static let kept = #"{"attention": {"n_heads_in_group": 2}, "ffn": {"intermediate_size": 96}}"#
    private static let gone = #"{"attention": {"no_op": true}, "ffn": {"no_op": true, "ffn_mult": null}}"#

    private static func blocks(_ blocks: String...) -> [String: String?] {
        [
            "block_configs": "[\(blocks.joined(separator: ", "))]", "model_type": "\"nemotron-nas\"",
            "num_key_value_heads": "null", "intermediate_size": "null",
        ]
    }

    private static func marks(_ removed: String, _ adapters: String = "{}", version: Int = 2) -> [String: String?] {
        [
            "model_type": "\"prunecore_llama\"", "auto_map": #"{"AutoConfig": "configuration_prunecore.X"}"#,
            "prunecore": #"{"version": \#(version), "removed": \#(removed), "adapters": \#(adapters)}"#,
        ]
    }

    @Test(
        arguments: [
            ("PruneCoreLlamaForCausalLM", marks(#"["attn.1", "ffn.2"]"#), [2, 5]),
            ("PruneCoreLlamaForCausalLM", marks("[]", version: 1), []),
            ("LlamaForCausalLM", ["drop_attn_list": "[2, 0]", "drop_mlp_list": "[]"], [0, 4]),
            ("MistralForCausalLM", ["drop_mlp_list": "[false, true, true]"], [3, 5]),
            ("Gemma2ForCausalLM", ["drop_attn_list": "[]", "drop_mlp_list": "[]"], []),
            ("Qwen2ForCausalLM", ["per_layer_config": #"{"01": {"skip": ["mlp", "attention"], "x": 1}}"#], [2, 3]),
            ("LlamaForCausalLM", ["per_layer_config": #"{"2": {"skip": ["mlp"]}}"#, "drop_mlp_list": "[2]"], [5]),
            ("DeciLMForCausalLM", blocks(kept, gone, kept), [2, 3]),
        ] as [(String, [String: String?], [Int])])
    func readsWhatIsMissing(_ architecture: String, _ changes: [String: String?], _ places: [Int]) throws {
        let config = try parse(architecture, changes)
        #expect(config.absent.places == Set(places))
        #expect(config.absent.adapters.isEmpty)
        #expect(config.blockCount == 3 && config.sublayers.count == 6)
    }

    @Test func aNemotronIsALlamaWithWidthsOfItsOwn() throws {
        let narrow = #"{"attention": {"num_key_value_heads": 2}, "ffn": {"ffn_mult": 5.25, "hidden_act": "silu"}}"#
        let linear = #"{"attention": {"replace_with_linear": true}, "ffn": {"replace_with_linear": true}}"#
        let config = try parse("DeciLMForCausalLM", Self.blocks(narrow, linear, Self.kept))
        #expect(config.architecture.name == "LlamaForCausalLM" && config.kvHeadCount == 2)
        // 2 * 5.25 * 64 / 3 = 224, and the next multiple of 256.
        #expect(config.feedForwardSize == 256)
        let widths = [1, 5].map { sublayer -> Int in
            if case .feedForward(let plan) = config.sublayers[sublayer].update { plan.down.inputs } else { 0 }
        }
        #expect(widths == [256, 96])
        let adapter = try #require(config.absent.adapters[2])
        #expect(adapter.kind == .linear && adapter.norm?.gains == ["model.layers.1.input_layernorm.weight"])
        #expect(
            adapter.matrices == [
                ["model.layers.1.self_attn.linear.weight", "model.layers.1.self_attn.linear_attn.weight"]
            ])
        #expect(config.absent.adapters[3]?.norm?.gains == ["model.layers.1.post_attention_layernorm.weight"])
    }

    @Test func adaptersStandAfterTheModulesOfTheFamily() throws {
        let form = #"{"kind": "low_rank", "rank": 3, "input": "normed", "epsilon": 1e-5, "norm": "layer"}"#
        var changes = familySizes("GPT2LMHeadModel").merging(Self.marks(#"["ffn.1"]"#, #"{"ffn.1": \#(form)}"#)) { $1 }
        changes["model_type"] = "\"prunecore_gpt2\""
        let config = try parse("PruneCoreGPT2LMHeadModel", changes)
        let adapter = try #require(config.absent.adapters[3])
        #expect(adapter.rank == 3 && adapter.bias == ["transformer.h.1.mlp.bias"])
        #expect(adapter.matrices == [["transformer.h.1.mlp.down.weight"], ["transformer.h.1.mlp.up.weight"]])
        #expect(adapter.norm?.kind == .layer && adapter.norm?.bias == "transformer.h.1.mlp.norm.bias")
    }

    @Test(
        arguments: [
            (marks(#"["attn.9"]"#), .format, "attn.9"), (marks("[7]"), .format, "array of strings"),
            (marks(#"["attn.1"]"#, "[]"), .format, "adapters"),
            (marks("[]", version: 4), .unsupported, "use a newer one"),
            (marks(#"["attn.1"]"#, #"{"ffn.1": {}}"#), .format, "ffn.1 is not a sublayer that"),
            (marks(#"["attn.1"]"#, #"{"attn.1": {"kind": "cubic"}}"#), .format, "cubic"),
            (marks(#"["attn.1"]"#, #"{"attn.1": {"kind": "bias", "rank": 2, "input": "raw"}}"#), .format, "rank is 2"),
            (["prunecore": "7"], .format, "prunecore"), (["prunecore": "{}"], .format, "prunecore.version"),
            (["drop_attn_list": "[3]"], .format, "layer 3"), (["drop_attn_list": "[-1]"], .format, "layer -1"),
            (["drop_mlp_list": "[true]"], .format, "1 entries"),
            (["drop_mlp_list": "[true, 1]"], .format, "drop_mlp_list"),
            (["drop_mlp_list": #""all""#], .format, "must be a list"),
            (
                ["drop_mlp_list": "[1]", "per_layer_config": #"{"1": {"skip": ["attention"]}}"#], .format,
                "other sublayers"
            ),
            (["per_layer_config": "[]"], .format, "an object"), (["per_layer_config": #"{"3": {}}"#], .format, "\"3\""),
            (["per_layer_config": #"{"1": {}, "01": {}}"#], .format, "layer 1 twice"),
            (["per_layer_config": #"{"1": {"skip": ["mixer"]}}"#], .format, "mixer"),
            (["per_layer_config": #"{"1": {"skip": ["mlp"], "head_dim": 8}}"#], .unsupported, "head_dim"),
        ] as [([String: String?], FailureKind, String)])
    func refusesWhatCannotBe(_ changes: [String: String?], _ kind: FailureKind, _ word: String) {
        let isOurs = changes["model_type"] != nil
        expectFault(kind, naming: "model/config.json", word) {
            _ = try parse(isOurs ? "PruneCoreLlamaForCausalLM" : "LlamaForCausalLM", changes)
        }
    }

    @Test(
        arguments: [
            (blocks(kept, kept), .format, "2 entries, but num_hidden_layers is 3"),
            (blocks("{}", kept, kept), .format, "block_configs[0].attention is missing"),
            (blocks(kept, kept, #"{"attention": {"n_heads_in_group": 3}, "ffn": {}}"#), .format, "must divide"),
            (
                blocks(kept, kept, #"{"attention": {"n_heads_in_group": 4}, "ffn": {}}"#), .unsupported,
                "block_configs[2]"
            ),
            (
                blocks(kept, kept, #"{"attention": {"no_op": true, "replace_with_linear": true}, "ffn": {}}"#), .format,
                "one of the two"
            ),
            (
                blocks(kept, kept, #"{"attention": {"window_length": 8}, "ffn": {}}"#), .unsupported,
                "block_configs[2].attention.window_length is 8"
            ),
            (blocks(kept, kept, #"{"attention": {}, "ffn": {"ffn_mult": 1e300}}"#), .unsupported, "ffn_mult"),
            (blocks(kept, kept, #"{"attention": {}, "ffn": {"hidden_act": "gelu"}}"#), .unsupported, "gelu"),
            (blocks(kept, kept, #"{"attention": {"no_op": 1}, "ffn": {}}"#), .format, "no_op"),
            (["block_configs": "null", "model_type": "\"deci\""], .unsupported, "block_configs is missing"),
        ] as [([String: String?], FailureKind, String)])
    func refusesBlocksThatCannotBe(_ changes: [String: String?], _ kind: FailureKind, _ word: String) {
        expectFault(kind, naming: "model/config.json", word) { _ = try parse("DeciLMForCausalLM", changes) }
    }

    /// A family of ours that this version does not know is named as the file names it.
    @Test func namesWhatItDoesNotKnow() {
        expectFault(.unsupported, naming: "PruneCoreMambaForCausalLM") {
            _ = try parse("PruneCoreMambaForCausalLM", Self.marks("[]"))
        }
        expectFault(.unsupported, naming: "PruneCoreLlamaForCausalLM") { _ = try parse("PruneCoreLlamaForCausalLM") }
    }
}
