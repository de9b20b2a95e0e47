// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

@testable import PruneCore

/// Decoding over the cache: logits as from scratch, ragged batches as one by one, and what the cache holds.
@Suite struct DecodingTests {
    let model: NativeModel

    init() throws {
        model = try NativeModel(directory: talesDirectory, compute: .float32)
    }

    var masks: [KeepMask] {
        let all = KeepMask(blocks: 12)
        return [all, [0, 5, 8, 9, 14, 23].reduce(all) { $0.removing(unit: $1, .sublayer) }]
    }

    func tokens(_ count: Int, _ seed: UInt64) -> [Int32] {
        var random = RandomSource(seed: seed, stream: 0)
        return (0..<count).map { _ in Int32(random.index(below: 2048)) }
    }

    /// The last row of logits by one pass over everything.
    func fromScratch(_ tokens: [Int32], _ mask: KeepMask) throws -> [Float] {
        let data = try TokenData(tokens: tokens, lengths: [tokens.count], weights: nil)
        let all = try logits(model, data, under: mask)
        return (0..<2048).map { all.pointer[(tokens.count - 1) * 2048 + $0] }
    }

    func largestDifference(_ one: [Float], _ other: UnsafePointer<Float>) -> Float {
        one.indices.map { abs(one[$0] - other[$0]) }.max() ?? .infinity
    }

    @Test func logitsAreThoseFromScratch() throws {
        for mask in masks {
            // Beyond the first 64 rows, so that the cache has grown twice.
            let sequences = [tokens(150, 1), tokens(100, 2), tokens(98, 3)]
            let starts = [60, 10, 1]
            let caches = sequences.map { KeyValueCache(model.config, expected: $0.count) }
            var rows = try model.advance(caches, by: zip(sequences, starts).map { Array($0[..<$1]) }, under: mask)
            for step in 0..<90 {
                rows = try model.advance(
                    caches, by: zip(sequences, starts).map { [$0[$1 + step]] }, under: mask)
                guard step % 13 == 0 || step == 89 else { continue }
                for (index, sequence) in sequences.enumerated() {
                    let wanted = try fromScratch(Array(sequence[...(starts[index] + step)]), mask)
                    #expect(largestDifference(wanted, rows.pointer + index * 2048) < 1e-5 * 20)
                }
            }
            #expect(caches.map(\.length) == [150, 100, 91])
        }
    }

    @Test func sequencesOfABatchAreAsAlone() throws {
        let prompts = try TokenData(tokens: tokens(60, 5), lengths: [1, 40, 7, 12], weights: nil)
        let sampling = try Sampling(temperature: 0.9, topK: 100, topP: 0.97)
        var seen: [[[Int32]]] = []
        for (sequences, batchTokens) in [(4, 2048), (1, 2048), (3, 1), (2, 45)] {
            let options = try GenerationOptions(
                mostNewTokens: 30, sampling: sampling, seed: 11, batchSequences: sequences, batchTokens: batchTokens)
            let made = try generate(model, after: prompts, under: masks[1], options)
            #expect(made.promptTokens == 60 && made.newTokens == 120)
            seen.append(made.tokens)
        }
        #expect(seen.allSatisfy { $0 == seen[0] })
        #expect(Set(seen[0]).count == 4)
    }

    @Test func theCacheHoldsKeptAttentionAlone() throws {
        let prompts = try TokenData(tokens: tokens(20, 6), lengths: [12, 8], weights: nil)
        let options = try GenerationOptions(
            mostNewTokens: 100, sampling: try Sampling(temperature: 0))
        var bytes: [Int] = []
        for removed in 0...12 {
            let mask = (0..<removed).reduce(masks[0]) { $0.removing(unit: $1, .attention) }
            let made = try generate(model, after: prompts, under: mask, options)
            bytes.append(made.peakCacheBytes)
            // 64 floats of keys and as many of values for each token that was fed.
            let needed = (12 - removed) * (111 + 107) * 2 * 64 * 4
            #expect(made.peakCacheBytes >= needed && Double(made.peakCacheBytes) <= Double(needed) * 1.05)
        }
        #expect(bytes.indices.allSatisfy { bytes[$0] == bytes[0] / 12 * (12 - $0) })
    }

    @Test func aSequenceUnderWayTakesOneTokenAtATime() throws {
        let cache = KeyValueCache(model.config, expected: 10)
        _ = try model.advance([cache], by: [[1, 2, 3]], under: masks[0])
        #expect(throws: PruneError.self) { _ = try model.advance([cache], by: [[4, 5]], under: masks[0]) }
        #expect(throws: PruneError.self) {
            _ = try model.advance([cache, KeyValueCache(model.config, expected: 10)], by: [[4], [5]], under: masks[0])
        }
    }

    @Test func aCallbackMayStopAfterAnySublayer() throws {
        let prompts = try TokenData(tokens: tokens(9, 7), lengths: [9], weights: nil)
        let options = try GenerationOptions(
            mostNewTokens: 4, sampling: try Sampling(temperature: 0))
        do {
            _ = try generate(model, after: prompts, under: masks[0], options, progress: { _ in true })
            Issue.record("it was not cancelled")
        } catch { #expect(error.kind == .cancelled) }
    }
}
