// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

@testable import PruneCore

/// Parts and norms of adapters, folding, and text from a model with adapters.
@Suite struct AdapterValuesTests {
    let model: NativeModel

    init() throws {
        model = try NativeModel(
            directory: talesDirectory, compute: .float32)
    }

    /// Every kind of adapter, raw and normed, and sublayers that are removed and have none.
    var sets: [AdapterSet] {
        get throws(PruneError) {
            let mask = mask(blocks: 12, without: [3, 4, 9, 10, 11, 14, 20])
            let kinds: [Int: (AdapterKind, rank: Int)] = [
                3: (.bias, 0), 4: (.lowRank, 5), 9: (.linear, 0), 10: (.bias, 0), 11: (.bias, 0), 20: (.lowRank, 16),
            ]
            let sample = try model.weightSample()
            return [true, false].map { normed in
                let made = randomAdapters(mask, width: 128, kinds, normed: normed)
                return AdapterSet(mask: mask, adapters: made.adapters, weightSample: sample, hiddenSize: 128)
            }
        }
    }

    func tokens(_ count: Int) -> [Int32] {
        var random = RandomSource(seed: 4, stream: 0)
        return (0..<count).map { _ in Int32(random.index(below: 2048)) }
    }

    @Test func partsAreReadAndReplaced() throws {
        var set = try sets[0]
        let adapter = try #require(set.adapters[4])
        #expect(try set.values(of: .bias, atSublayer: 4) == Array(adapter.parameters[..<128]))
        #expect(try set.values(of: .down, atSublayer: 4) == Array(adapter.parameters[128..<768]))
        #expect(try set.values(of: .up, atSublayer: 4) == Array(adapter.parameters[768...]))
        #expect(try set.values(of: .norm, atSublayer: 4) == adapter.norm?.gain)
        #expect(try set.values(of: .matrix, atSublayer: 9).count == 128 * 128)
        try set.replace(.down, atSublayer: 4, with: Array(repeating: 2, count: 640))
        #expect(set.adapters[4]?.parameters[128..<768].allSatisfy { $0 == 2 } == true)
        #expect(set.adapters[4]?.parameters[768...] == adapter.parameters[768...])
        expectFault(.argument, naming: "attn.2", "matrix") { _ = try set.values(of: .matrix, atSublayer: 4) }
        expectFault(.argument, naming: "bias adapter", "norm") { _ = try set.values(of: .norm, atSublayer: 3) }
        expectFault(.argument, naming: "attn.7", "ffn.1") { _ = try set.values(of: .bias, atSublayer: 14) }
        expectFault(.argument, naming: "24", "23") { _ = try set.values(of: .bias, atSublayer: 24) }
        expectFault(.argument, naming: "640", "639") {
            try set.replace(.down, atSublayer: 4, with: Array(repeating: 2, count: 639))
        }
        expectFault(.argument, naming: "norm") {
            try set.replace(.norm, atSublayer: 4, with: Array(repeating: 2, count: 128))
        }
        expectFault(.nonFinite, naming: "value 5") {
            try set.replace(.bias, atSublayer: 4, with: (0..<128).map { $0 == 5 ? .infinity : 0 })
        }
    }

    @Test func normsAreThoseOfTheProduct() throws {
        let set = try sets[0]
        for (sublayer, adapter) in set.adapters {
            let bias = try set.values(of: .bias, atSublayer: sublayer)
            #expect(abs(adapter.biasNorm - bias.reduce(0) { $0 + Double($1 * $1) }.squareRoot()) < 1e-6)
            var matrix = [Double](repeating: 0, count: 128 * 128)
            switch adapter.kind {
            case .bias: break
            case .linear: matrix = adapter.parameters[adapter.matrixRange].map(Double.init)
            case .lowRank:
                let (up, down) = (
                    try set.values(of: .up, atSublayer: sublayer), try set.values(of: .down, atSublayer: sublayer)
                )
                for row in 0..<128 {
                    for column in 0..<128 {
                        matrix[row * 128 + column] = (0..<adapter.rank).reduce(0) {
                            $0 + Double(up[row * adapter.rank + $1]) * Double(down[$1 * 128 + column])
                        }
                    }
                }
            }
            let expected = matrix.reduce(0) { $0 + $1 * $1 }.squareRoot()
            #expect(abs(adapter.matrixNorm - expected) <= 1e-5 * expected)
        }
    }

    /// attn.1's successor ffn.1 folds into attn.1; low rank at attn.2 stays; ffn.4 is linear and bars attn.5; ffn.5 is
    /// barred likewise.
    @Test func biasesFoldWhereNothingReadsBetween() throws {
        let set = try sets[0]
        let folded = FoldedAdapters(set)
        #expect(folded.rest.sublayers == [4, 9, 10, 11, 20] && folded.rest.mask == set.mask)
        let bias = try set.values(of: .bias, atSublayer: 3)
        #expect(Array(folded.biases[2 * 128..<3 * 128]) == bias)
        #expect(folded.biases.enumerated().allSatisfy { (2 * 128..<3 * 128).contains($0.offset) || $0.element == 0 })

        // Several add up over sublayers that are gone; before the first kept one there is no place.
        let several = randomAdapters(
            mask(blocks: 4, without: [0, 1, 3, 4, 5]), width: 4, [0: (.bias, 0), 3: (.bias, 0), 5: (.bias, 0)])
        let sums = FoldedAdapters(several)
        #expect(sums.rest.sublayers == [0] && sums.biases.count == 32)
        let (three, five) = (
            try several.values(of: .bias, atSublayer: 3), try several.values(of: .bias, atSublayer: 5)
        )
        #expect(Array(sums.biases[8..<12]) == zip(three, five).map { $0 + $1 })
    }

    /// A folded model computes what the recovered one does: its biases stand as adapters where nothing is removed.
    @Test func foldingChangesNothing() throws {
        let mask = mask(blocks: 12, without: [3, 4, 5, 20])
        let made = randomAdapters(mask, width: 128, [3: (.bias, 0), 5: (.bias, 0), 20: (.bias, 0)])
        let folded = FoldedAdapters(made)
        #expect(folded.rest.adapters.isEmpty)
        let data = try TokenData(tokens: tokens(40), lengths: [40], weights: nil)
        let recovered = try RecoveredModel(
            model, AdapterSet(mask: mask, adapters: made.adapters, weightSample: [], hiddenSize: 128))
        // By hand: the state after each kept sublayer gets that sublayer's bias.
        var state = try model.start(data.batches(of: 100)[0])
        for sublayer in mask.kept {
            let after = try model.apply(sublayer, to: [state])[0]
            state = try model.read(after) { values throws(PruneError) in
                try model.write(like: after) { out throws(PruneError) in
                    for index in 0..<values.count {
                        out[index] = values[index] + folded.biases[sublayer * 128 + index % 128]
                    }
                }
            }
        }
        let wanted = try recovered.run(try recovered.start(state.batch), under: KeepMask(blocks: 12))
        let difference = try model.read(state) { one throws(PruneError) in
            try model.read(wanted) { other throws(PruneError) in
                (0..<one.count).reduce(Float(0)) { max($0, abs(one[$1] - other[$1])) }
            }
        }
        #expect(difference < 1e-4)
    }

    @Test func greedyTextIsThatOfTheLogits() throws {
        let all = KeepMask(blocks: 12)
        for set in try sets {
            let recovered = try RecoveredModel(model, set)
            #expect(recovered.generates)
            for mask in [all, [0, 4, 20].reduce(all) { $0.removing(unit: $1, .sublayer) }] {
                let prompts = try TokenData(tokens: tokens(20), lengths: [13, 7], weights: nil)
                let options = try GenerationOptions(
                    mostNewTokens: 12, sampling: try Sampling(temperature: 0))
                let made = try generate(recovered, after: prompts, under: mask, options)
                for (prompt, written) in made.tokens.enumerated() {
                    var sequence = Array(prompts.tokens[prompts.offsets[prompt]..<prompts.offsets[prompt + 1]])
                    for token in written {
                        let data = try TokenData(tokens: sequence, lengths: [sequence.count], weights: nil)
                        let all = try logits(recovered, data, under: mask)
                        let row = (0..<2048).map { all.pointer[(sequence.count - 1) * 2048 + $0] }
                        #expect(row.firstIndex(of: row.max() ?? 0) == Int(token))
                        sequence.append(token)
                    }
                }
            }
        }
    }

    /// Keys and values are kept for what is left of the model's own attention.
    @Test func adaptersTakeNoCache() throws {
        let set = try sets[0]
        let prompts = try TokenData(tokens: tokens(30), lengths: [30], weights: nil)
        let options = try GenerationOptions(
            mostNewTokens: 10, sampling: try Sampling(temperature: 0))
        let recovered = try generate(
            try RecoveredModel(model, set), after: prompts, under: KeepMask(blocks: 12), options)
        let pruned = try generate(model, after: prompts, under: set.mask, options)
        #expect(recovered.peakCacheBytes == pruned.peakCacheBytes && pruned.peakCacheBytes > 0)
    }

    @Test func modelsOfHostsDoNotWrite() throws {
        let prompts = try TokenData(tokens: [0], lengths: [1], weights: nil)
        let options = try GenerationOptions(sampling: try Sampling(temperature: 0))
        let host = HandModel(updates: [[0, 0], [0, 0]])
        #expect(!host.generates)
        expectFault(.unsupported, naming: "host") {
            _ = try generate(host, after: prompts, under: KeepMask(blocks: 1), options)
        }
    }
}
