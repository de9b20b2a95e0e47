// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

/// Text of every family is written over the cache as if each token were computed from scratch.
@Suite struct FamilyDecodingTests {
    static let tokens: [Int32] = (0..<24).map { Int32(($0 * 7 + 3) % 32) }

    func expectSame(_ model: NativeModel, _ mask: KeepMask, sourceLocation: SourceLocation = #_sourceLocation) throws {
        let vocabulary = model.config.vocabularySize
        let starts = [3, 1]
        let caches = starts.map { _ in KeyValueCache(model.config, expected: 24) }
        var rows = try model.advance(caches, by: starts.map { Array(Self.tokens[..<$0]) }, under: mask)
        for step in 0..<20 {
            rows = try model.advance(caches, by: starts.map { [Self.tokens[$0 + step]] }, under: mask)
            for (index, start) in starts.enumerated() {
                let length = start + step + 1
                let data = try TokenData(tokens: Array(Self.tokens[..<length]), lengths: [length], weights: nil)
                let all = try logits(model, data, under: mask)
                for entry in 0..<vocabulary {
                    let (found, wanted) = (
                        rows.pointer[index * vocabulary + entry], all.pointer[(length - 1) * vocabulary + entry]
                    )
                    #expect(
                        abs(found - wanted) <= 2e-4 * (1 + abs(wanted)), "\(length) tokens, entry \(entry)",
                        sourceLocation: sourceLocation)
                }
            }
        }
    }

    @Test(arguments: FamilyVariant.all.filter { !$0.testDescription.contains("dynamic") })
    func logitsOverTheCacheAreThoseFromScratch(_ variant: FamilyVariant) throws {
        let model = try variant.model()
        for removed in [[], [1, 2]] { try expectSame(model, mask(blocks: 2, without: removed)) }
    }

    /// Each of two lengths, after which keys would be others, has the cache made again.
    @Test func kindsOfBlocksMayHaveOtherContexts() throws {
        func kind(_ context: Int) -> String {
            #"{"rope_type": "longrope", "short_factor": [1, 1, 1], "long_factor": [3, 5, 9], "factor": 2,"#
                + #" "original_max_position_embeddings": \#(context)}"#
        }
        let model = try FamilyVariant(
            name: "Gemma3ForCausalLM",
            changes: [
                "layer_types": #"["sliding_attention", "full_attention"]"#, "sliding_window": "30",
                "rope_parameters": #"{"full_attention": \#(kind(7)), "sliding_attention": \#(kind(12))}"#,
            ]
        ).model()
        #expect(model.config.rotations.map { $0?.lastUnchangedLength } == [12, 7])
        try expectSame(model, KeepMask(blocks: 2))
    }

    @Test func sequencesBeyondTheLearnedPositionsAreRefused() throws {
        let model = try FamilyVariant(name: "GPT2LMHeadModel", changes: ["n_positions": "8"]).model()
        let long = try TokenData(tokens: Array(Self.tokens[..<9]), lengths: [9], weights: nil)
        expectFault(.data, naming: "9 tokens", "positions for 8") { _ = try model.start(TokenBatch(long, 0..<1)) }
        let cache = KeyValueCache(model.config, expected: 20)
        _ = try model.advance([cache], by: [Array(Self.tokens[..<8])], under: KeepMask(blocks: 2))
        expectFault(.data, naming: "positions for 8") {
            _ = try model.advance([cache], by: [[1]], under: KeepMask(blocks: 2))
        }
    }
}
