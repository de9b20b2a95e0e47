// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

@Suite struct ExportPlanTests {
    private func subject(
        _ architecture: String = "LlamaForCausalLM", _ changes: [String: String?] = [:], removing units: [Int] = []
    ) throws -> ExportSubject {
        let model = try randomModel(architecture, changes)
        let mask = units.reduce(KeepMask(blocks: model.config.blockCount)) { $0.removing(unit: $1, .sublayer) }
        let configuration = configuration(architecture, Self.sizes.merging(changes) { $1 })
        // The fixture's model comes from a directory that is gone.
        let source = CheckpointSource(directory: "/nowhere", configuration: configuration)
        return ExportSubject(model: model, source: source, mask: mask, adapters: nil)
    }

    private static let sizes: [String: String?] = [
        "hidden_size": "24", "intermediate_size": "37", "num_hidden_layers": "2", "num_attention_heads": "4",
        "num_key_value_heads": "2", "head_dim": "6", "vocab_size": "32",
    ]

    private func member(_ key: String, _ plan: ExportPlan) throws -> JSONValue? {
        guard case .object(let members) = try JSONValue.parse(Array(plan.config.utf8), source: "config.json") else {
            return nil
        }
        return members[key]
    }

    /// Windows begin at block 28 where no key says otherwise: of 30 blocks, 28 come before, and 27 if one of them goes.
    @Test(arguments: [(0, 27), (29, 28)])
    func theFirstWindowMovesThoughNoKeyNamesIt(_ block: Int, _ first: Int) throws {
        let windowed: [String: String?] = [
            "num_hidden_layers": "30", "use_sliding_window": "true", "sliding_window": "8",
        ]
        let subject = try subject("Qwen2ForCausalLM", windowed, removing: [2 * block, 2 * block + 1])
        let plan = try PlainExport.plan(subject)
        #expect(try member("max_window_layers", plan) == .integer(first))
        let config = try ModelConfig.parse(Array(plan.config.utf8), path: "config.json")
        let kept = (0..<30).filter { $0 != block }
        #expect(
            kept.indices.map { config.window(ofBlock: $0) } == kept.map { subject.model.config.window(ofBlock: $0) })
    }

    /// A number that stands for no block is left as it is.
    @Test func aFirstWindowBeyondTheLastBlockStays() throws {
        let plan = try PlainExport.plan(
            try subject("Qwen2ForCausalLM", ["max_window_layers": "2"], removing: [0, 1]))
        #expect(try member("max_window_layers", plan) == .integer(2))
    }

    /// A pattern that would shift becomes a list, and numbers of blocks in a list move.
    @Test func patternsOfBlocksAreWrittenOut() throws {
        let mixture: [String: String?] = [
            "num_hidden_layers": "4", "num_experts": "2", "num_experts_per_tok": "1", "moe_intermediate_size": "8",
            "shared_expert_intermediate_size": "8", "decoder_sparse_step": "2", "mlp_only_layers": "[3]",
        ]
        let plan = try PlainExport.plan(try subject("Qwen2MoeForCausalLM", mixture, removing: [0, 1]))
        #expect(try member("mlp_only_layers", plan) == .array([.integer(1), .integer(2)]))
        #expect(try member("decoder_sparse_step", plan) == .integer(1))
    }

    /// The modelling files name the classes of the family, and no other.
    @Test(arguments: [
        ("GPT2LMHeadModel", "GPT2Config"), ("Gemma3ForCausalLM", "Gemma3TextConfig"), ("OPTForCausalLM", "OPTConfig"),
        ("GPTNeoXForCausalLM", "GPTNeoXConfig"),
    ])
    func modellingFilesAreThoseOfTheFamily(_ name: String, _ configuration: String) throws {
        let family = try #require(Architecture.supported.first { $0.name == name })
        #expect(family.configurationClass == configuration)
        let files = ModellingFiles.custom(family).map { String(decoding: $0.bytes, as: UTF8.self) }
        #expect(files[0].contains("class PruneCore\(configuration)(\(configuration)):"))
        #expect(files[0].contains("model_type = \"prunecore_\(family.modelType)\""))
        #expect(files[1].contains("class PruneCore\(name)(\(name)):"))
        #expect(!files[0].contains("Llama") && !files[1].contains("Llama"))
    }

    /// A file that calls its head tied, and stores another, is exported as what it computes.
    @Test func headsThatAreNotTiedAreNotCalledTied() throws {
        let tied = try subject("LlamaForCausalLM", ["tie_word_embeddings": "true"])
        #expect(try PlainExport.plan(tied).tensors.contains { $0.name == "lm_head.weight" } == false)
        let own = try subject("LlamaForCausalLM", [:])
        let plan = try PlainExport.plan(
            ExportSubject(
                model: own.model, source: tied.source, mask: own.mask, adapters: nil))
        #expect(try member("tie_word_embeddings", plan) == .bool(false))
        #expect(plan.tensors.contains { $0.name == "lm_head.weight" })
    }

    @Test(arguments: [
        ("Qwen3ForCausalLM", "attention_bias", "false", "norms"), ("Qwen2ForCausalLM", "mlp_bias", "false", "biases"),
        ("LlamaForCausalLM", "attention_bias", "true", "biases"), ("LlamaForCausalLM", "mlp_bias", "true", "biases"),
        ("MistralForCausalLM", "sliding_window", "9", "9 tokens"),
    ])
    func deciRefusesWhatItsRuntimesDoNotCompute(_ name: String, _ key: String, _ value: String, _ reason: String) throws
    {
        let subject = try subject(name, [key: value])
        expectFault(.unsupported, naming: reason, "hf_custom can") { _ = try DeciExport.plan(subject) }
        // The other format has no such limits.
        #expect(try CustomExport.plan(subject).tensors.count > 0)
    }

    /// As runtimes read it, mlx-lm after rounding it to 6 digits behind the point.
    @Test(arguments: [24, 576, 2048, 4096, 8192, 12_288]) func everyMultipleOf256HasAMultiplier(_ hidden: Int) throws {
        for width in stride(from: 256, through: 65_536, by: 256) {
            let multiple = try #require(DeciWidths.multiple(giving: width, of: hidden))
            for read in [multiple, (multiple * 1e6).rounded(.toNearestOrEven) / 1e6] {
                #expect((Int(2 * read * Double(hidden) / 3) + 255) / 256 * 256 == width)
            }
            #expect(DeciWidths.multiple(giving: width + 1, of: hidden) == nil)
        }
    }

    /// Against what vLLM's `_ffn_mult_to_intermediate_size` makes of the number that is written, over many widths.
    @Test(arguments: [24, 80]) func widthsAreReadBackAsTheyAre(_ hidden: Int) throws {
        for width in [256, 512, 768, 2816, 255, 300] {
            let changes: [String: String?] = [
                "hidden_size": "\(hidden)", "head_dim": "\(hidden / 4)", "intermediate_size": "\(width)",
                "num_hidden_layers": "1",
            ]
            let plan = try DeciExport.plan(try subject("LlamaForCausalLM", changes))
            guard case .array(let blocks) = try member("block_configs", plan), case .object(let block) = blocks.first,
                case .object(let feedForward) = block["ffn"]
            else {
                Issue.record("no block")
                return
            }
            if width % 256 == 0 {
                let multiple: Double? =
                    switch feedForward["ffn_mult"] {
                    case .number(let value): value
                    case .integer(let value): Double(value)
                    default: nil
                    }
                let least = Int(2 * (try #require(multiple)) * Double(hidden) / 3)
                #expect(least + (256 - least % 256) % 256 == width)
                #expect(feedForward["intermediate_size"] == nil)
            } else {
                #expect(feedForward["intermediate_size"] == .integer(width) && feedForward["ffn_mult"] == nil)
            }
        }
    }
}
