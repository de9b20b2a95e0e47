// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

/// Llamas that differ in their norms, against one in double and against one another.
@Suite struct NormPlacingTests {
    static let tokens: [Int32] = [3, 1, 30, 7, 7, 12, 0, 31, 5]

    func logits(_ model: NativeModel, _ mask: KeepMask) throws -> [Float] {
        let data = try TokenData(tokens: Self.tokens, lengths: [Self.tokens.count], weights: nil)
        let found = try PruneCore.logits(model, data, under: mask)
        return (0..<Self.tokens.count * model.config.vocabularySize).map { found.pointer[$0] }
    }

    static let removals = [[], [0], [1], [0, 1], [2, 3], [1, 4]]

    @Test(arguments: [0, 1, 2, 3])
    func mixLNIsItsFormula(_ postNormed: Int) throws {
        var changes: [String: String?] = ["num_hidden_layers": "3", "rms_norm_eps": "0.001"]
        if postNormed > 0 { changes.merge(["norm_type": #""pre_post""#, "post_num": "\(postNormed)"]) { $1 } }
        let model = try randomModel("LlamaForCausalLM", changes)
        let plain = PlainLlama(model.config, randomSamples(model.config), postNormed: postNormed, epsilon: 0.001)
        for removed in Self.removals {
            let wanted = plain.logits(Self.tokens.map { Int($0) }, without: Set(removed)).flatMap { $0 }
            let found = try logits(model, mask(blocks: 3, without: removed))
            #expect(found.count == wanted.count)
            for (found, wanted) in zip(found, wanted) {
                #expect(abs(Double(found) - wanted) <= 2e-4 * (1 + abs(wanted)), "without \(removed)")
            }
        }
    }

    /// LayerNorm Scaling is a Llama with other gains.
    @Test func layerNormScalingFoldsIntoTheGains() throws {
        let sizes: [String: String?] = ["num_hidden_layers": "3"]
        let scaled = try randomModel("LlamaForCausalLM", sizes.merging(["norm_type": #""lns""#]) { $1 })
        var folded: [String: [Float]] = [:]
        for sample in randomSamples(scaled.config) {
            guard let block = (0..<3).first(where: { sample.name.hasPrefix("model.layers.\($0).") }),
                sample.name.hasSuffix("layernorm.weight")
            else { continue }
            let factor = 1 / Float(block + 1).squareRoot()
            folded[sample.name] = stride(from: 0, to: sample.bytes.count, by: 4).map { place in
                sample.bytes.withUnsafeBytes { factor * $0.loadUnaligned(fromByteOffset: place, as: Float.self) }
            }
        }
        #expect(folded.count == 6)
        let llama = try randomModel("LlamaForCausalLM", sizes, weights: folded)
        for removed in Self.removals {
            let mask = mask(blocks: 3, without: removed)
            #expect(try logits(scaled, mask) == logits(llama, mask), "without \(removed)")
        }
        #expect(
            try logits(scaled, KeepMask(blocks: 3))
                != logits(randomModel("LlamaForCausalLM", sizes), KeepMask(blocks: 3)))
    }

    /// What stays where a sublayer is removed is found by whoever reads the state next, too.
    @Test func normsThatStayAreAppliedOnce() throws {
        let model = try randomModel("LlamaForCausalLM", ["norm_type": #""pre_post""#, "post_num": "2"])
        let data = try TokenData(tokens: Self.tokens, lengths: [Self.tokens.count], weights: nil)
        let start = try model.start(TokenBatch(data, 0..<1))
        func values(_ state: any HiddenState) throws -> [Float] { try GradientTests().floats(model, [state])[0] }
        let rest = try #require(model.removed(0))
        let told = try model.apply(1, to: [try rest.apply(start)])[0]
        let found = try model.apply(1, to: [start])[0]
        #expect(try values(told) == values(found))
        #expect(try values(rest.apply(start)) != values(start))
        #expect(try randomModel().removed(0) == nil)
    }
}
