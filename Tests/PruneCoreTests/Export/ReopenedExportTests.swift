// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

/// What is exported opens as what was exported, and can be pruned, given adapters and exported again.
@Suite struct ReopenedExportTests {
    static let data = try? TokenData(tokens: FamilyDecodingTests.tokens, lengths: [17, 7], weights: nil)

    func values(_ model: any Model, _ mask: KeepMask? = nil) throws -> [Float] {
        let buffer = try logits(model, try #require(Self.data), under: mask ?? model.shape.present)
        return Array(UnsafeBufferPointer(start: buffer.pointer, count: buffer.count))
    }

    /// Exports to a new directory, and opens what was written.
    func exported(
        _ model: any Model, _ mask: KeepMask, _ adapters: AdapterSet? = nil, _ format: ExportFormat = .custom,
        shardBytes: Int = 1 << 30
    ) throws -> any Model {
        let directory = try TemporaryDirectory()
        var options = ExportOptions(version: "0")
        (options.format, options.shardBytes) = (format, shardBytes)
        try export(model, mask, adapters: adapters, to: directory.file("out"), options)
        return try openModel(try Checkpoint.open(directory: directory.file("out")), compute: .float32)
    }

    func adapters(
        _ model: any Model, _ mask: KeepMask, _ kinds: [Int: (AdapterKind, rank: Int)], normed: Bool = true,
        norm: NormKind = .rootMeanSquare
    ) throws -> AdapterSet {
        let made = randomAdapters(mask, width: model.shape.hiddenSize, kinds, normed: normed, norm: norm)
        return AdapterSet(
            mask: mask, adapters: made.adapters, weightSample: try model.weightSample(), hiddenSize: made.hiddenSize)
    }

    /// Mix-LN has no class in transformers that could run it without sublayers.
    @Test(arguments: FamilyVariant.all.filter { !$0.testDescription.contains("pre_post") })
    func aModelIsPrunedAgainAndAgain(_ variant: FamilyVariant) throws {
        let full = try variant.model()
        // LayerNorm Scaling is multiplied into gains once, which rounds; from then on every bit stays.
        let model =
            variant.testDescription.contains("lns") ? try exported(full, full.shape.present) : full as any Model
        let norm = NormKind.layer
        let first = try adapters(model, mask(blocks: 2, without: [1]), [1: (.lowRank, 3)], norm: norm)
        var opened = try exported(model, first.mask, first)
        #expect(try values(opened) == values(RecoveredModel(model, first)))
        #expect(opened.shape.absent.isEmpty && opened.shape.sublayers[1].parameters == 24 + 2 * 3 * 24 + 24)

        let second = try adapters(opened, mask(blocks: 2, without: [2]), [2: (.linear, 0)], normed: false)
        opened = try exported(opened, second.mask, second, shardBytes: 4096)
        // The same for the model that the first was exported from, which has more weights to be recognised by.
        let same = AdapterSet(mask: second.mask, adapters: second.adapters, weightSample: [], hiddenSize: 24)
        let both = try RecoveredModel(RecoveredModel(model, first), same)
        #expect(both.base === model && both.adapters.sublayers == [1, 2])
        #expect(try values(opened) == values(both))

        // The first adapter is taken away again, and nothing comes in its place.
        let third = mask(blocks: 2, without: [1])
        opened = try exported(opened, third)
        #expect(opened.shape.absent == [1] && (opened as? RecoveredModel)?.adapters.sublayers == [2])
        #expect(try values(opened) == values(both, third))
        #expect(try values(opened, KeepMask(blocks: 2)) == values(both, third))
        #expect(opened.shape.cost(under: opened.shape.present) == both.shape.cost(under: third))

        opened = try exported(opened, mask(blocks: 2, without: [1, 2]))
        let native = try #require(opened as? NativeModel)
        // Keys that are kept have the angles of a shorter text under this rule.
        if variant.testDescription.contains("dynamic") { return }
        try FamilyDecodingTests().expectSame(native, native.shape.present)
    }

    /// What an opened model lacks is there again, as zeros, and nothing that others need is.
    @Test(arguments: FamilyVariant.all.filter { !$0.testDescription.contains("pre_post") })
    func aModelThatLacksSublayersIsWholeAgain(_ variant: FamilyVariant) throws {
        let model = try variant.model()
        // Side by side, both sublayers of a block may have one norm.
        let opened = try exported(model, mask(blocks: 2, without: [0]))
        #expect(opened.shape.absent == [0])
        let whole = try exported(opened, mask(blocks: 2, without: [3]), nil, .zeroed)
        #expect(whole.shape.absent.isEmpty && whole.shape.elementType == model.shape.elementType)
        #expect(whole.shape.cost(under: whole.shape.present) == model.shape.cost(under: model.shape.present))
        #expect(try values(whole) == values(opened, mask(blocks: 2, without: [3])))
    }

    @Test func nemotronsAndSmallerModelsOpen() throws {
        let model = try FamilyVariant(name: "LlamaForCausalLM", changes: ["num_hidden_layers": "4"]).model()
        let first = mask(blocks: 4, without: [1, 2])
        var opened = try exported(model, first, nil, .deci)
        #expect(opened.shape.architecture == "LlamaForCausalLM" && opened.shape.absent == [1, 2])
        #expect(try values(opened) == values(model, first))
        let second = mask(blocks: 4, without: [2, 3])
        opened = try exported(opened, second, nil, .deci)
        #expect(opened.shape.absent == [1, 2, 3] && opened.shape.sublayers[2].parameterBytes == 0)
        let all = mask(blocks: 4, without: [1, 2, 3])
        #expect(try values(opened) == values(model, all))
        opened = try exported(opened, mask(blocks: 4, without: [0]), nil, .custom)
        #expect(try values(opened) == values(model, mask(blocks: 4, without: [0, 1, 2, 3])))
        // What is left are whole blocks: a Llama like any other.
        opened = try exported(opened, opened.shape.present, nil, .plain)
        #expect(opened.shape.blockCount == 2 && opened.shape.absent.isEmpty)
        #expect(try values(opened) == values(model, mask(blocks: 4, without: [0, 1, 2, 3])))
    }

    /// Widths that differ by block are those of the blocks, and only formats that say so hold them.
    @Test func widthsOfBlocksStay() throws {
        let ffn = [#"{"ffn_mult": 16}"#, #"{"intermediate_size": 40}"#]
        let blocks = ffn.map { #"{"attention": {"n_heads_in_group": 2}, "ffn": \#($0)}"# }
        let model = try randomModel(
            "DeciLMForCausalLM",
            familySizes("LlamaForCausalLM").merging(["block_configs": "[\(blocks[0]), \(blocks[1])]"]) { $1 })
        #expect(model.shape.feedForwardSize == 256)
        #expect(model.shape.sublayers.map(\.parameters) == [1752, 3 * 24 * 256 + 24, 1752, 3 * 24 * 40 + 24])
        let all = model.shape.present
        for format in [ExportFormat.deci, .custom] {
            #expect(try values(exported(model, all, nil, format)) == values(model))
        }
        for format in [ExportFormat.plain, .zeroed] {
            expectFault(.unsupported, naming: "block 1", "width") { _ = try exported(model, all, nil, format) }
        }
        let one = mask(blocks: 2, without: [0, 1])
        for format in [ExportFormat.custom, .plain, .deci, .zeroed] {
            #expect(try values(exported(model, one, nil, format)) == values(model, one))
        }
        // The zeros of a feed-forward that is removed have the width of the one that stays.
        let narrow = mask(blocks: 2, without: [1])
        #expect(try values(exported(model, narrow, nil, .zeroed)) == values(model, narrow))
    }

    /// The norm of the sum stays where its sublayer is absent, forward and back.
    @Test(arguments: [
        FamilyVariant(name: "LlamaForCausalLM", changes: ["norm_type": #""pre_post""#, "post_num": "1"]),
        FamilyVariant(name: "OPTForCausalLM", changes: ["do_layer_norm_before": "false"]),
    ])
    func normsOfSumsStay(_ variant: FamilyVariant) throws {
        let full = try variant.model()
        let skips =
            ["per_layer_config": #"{"0": {"skip": ["attention"]}, "1": {"skip": ["mlp"]}}"#] as [String: String?]
        let weights = Dictionary(uniqueKeysWithValues: randomSamples(full.config).map { ($0.name, floats($0.bytes)) })
        let sizes = familySizes(variant.name).merging(["sliding_window": "5"]) { $1 }.merging(variant.changes) { $1 }
        let lean = try randomModel(variant.name, sizes.merging(skips) { $1 }, weights: weights)
        let removed = mask(blocks: 2, without: [0, 3])
        #expect(lean.shape.present == removed && lean.weights.sublayers[0].last != nil)
        #expect(try values(lean) == values(full, removed))
        #expect(try values(lean, KeepMask(blocks: 2)) == values(full, removed))
        try FamilyDecodingTests().expectSame(lean, removed)
        let data = try #require(Self.data)
        for under in [removed, KeepMask(blocks: 2)] {
            let found = try objectiveGradient(lean, data, under: under, .crossEntropy, atSublayer: 0, batchTokens: 64)
            let wanted = try objectiveGradient(
                full, data, under: removed, .crossEntropy, atSublayer: 0, batchTokens: 64)
            #expect(found.loss == wanted.loss)
            for index in 0..<wanted.gradient.count {
                #expect(found.gradient.pointer[index] == wanted.gradient.pointer[index])
            }
        }
    }

    private func floats(_ bytes: [UInt8]) -> [Float] {
        bytes.withUnsafeBytes { raw in
            (0..<raw.count / 4).map { raw.loadUnaligned(fromByteOffset: 4 * $0, as: Float.self) }
        }
    }
}
