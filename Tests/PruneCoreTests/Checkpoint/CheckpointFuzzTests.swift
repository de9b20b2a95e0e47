// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

/// Damaged files: reading them opens or throws, and never traps. A trap would end the whole test run.
@Suite struct CheckpointFuzzTests {
    static let samples = [
        Sample(name: "a", dtype: "F32", shape: [2, 2], bytes: Array(0..<16)),
        Sample(name: "b.é", dtype: "BF16", shape: [3], bytes: Array(0..<6)),
        Sample(name: "c", dtype: "I64", shape: [0, 7], bytes: []),
    ]
    static let config = configuration(
        "Qwen3ForCausalLM",
        [
            "use_sliding_window": "true", "layer_types": #"["full_attention", "sliding_attention", "full_attention"]"#,
            "rope_scaling": #"{"type": "yarn", "factor": 4.0, "beta_fast": 32, "mscale": 1, "mscale_all_dim": 0.5}"#,
        ])

    @Test func truncatedFilesAreRefused() throws {
        let directory = try TemporaryDirectory()
        let file = safetensors(Self.samples)
        try directory.write("config.json", Self.config)
        for count in file.indices {
            try directory.write("model.safetensors", Array(file.prefix(count)))
            #expect(throws: PruneError.self) { try Checkpoint.open(directory: directory.path) }
        }
        try directory.write("model.safetensors", file)
        _ = try Checkpoint.open(directory: directory.path)
        // The last byte is a newline.
        for count in 0..<Self.config.count - 1 {
            try directory.write("config.json", Array(Self.config.prefix(count)))
            #expect(throws: PruneError.self) { try Checkpoint.open(directory: directory.path) }
        }
    }

    @Test func damagedSafetensorsOpenOrThrow() throws {
        let directory = try TemporaryDirectory()
        try directory.write("config.json", Self.config)
        let file = safetensors(Self.samples)
        var random = SeededGenerator(state: 1)
        var opened = 0
        for _ in 0..<3000 {
            let damaged = Self.damage(file, &random)
            try directory.write("model.safetensors", damaged)
            guard let checkpoint = try? Checkpoint.open(directory: directory.path) else { continue }
            opened += 1
            // Every byte that a tensor claims can be read, and is as many as its shape says.
            for name in ["a", "b.é"] {
                for shape in [[2, 2], [3]] {
                    guard let tensor = try? checkpoint.tensors.tensor(name, shape: shape) else { continue }
                    #expect(tensor.elementCount == shape.reduce(1, *))
                    #expect(tensor.bytes.reduce(0) { $0 + Int($1) } >= 0)
                }
            }
        }
        // Some damage hits only data, names or padding; most does not.
        #expect(opened > 0 && opened < 2000)
    }

    @Test func damagedConfigurationsParseOrThrow() {
        var random = SeededGenerator(state: 2)
        var parsed = 0
        for _ in 0..<3000 {
            let damaged = Self.damage(Self.config, &random)
            guard let config = try? ModelConfig.parse(damaged, path: "config.json") else { continue }
            parsed += 1
            #expect(config.headCount % config.kvHeadCount == 0 && config.headSize % 2 == 0)
            #expect(config.windows.count == config.blockCount && config.normEpsilon ?? 0 > 0)
            let rotary = config.rotary
            #expect(rotary?.inverseFrequencies(length: 1).allSatisfy { $0.isFinite } ?? false)
            #expect(rotary?.attentionFactor ?? 0 > 0)
        }
        #expect(parsed > 0 && parsed < 2000)
    }

    @Test func damagedIndicesParseOrThrow() {
        let index = Array(
            #"{"metadata": {"total_size": 3.5e3}, "weight_map": {"a\u00e9": "x.safetensors", "b": "y"}}"#.utf8)
        var random = SeededGenerator(state: 3)
        var parsed = 0
        for _ in 0..<3000 {
            guard let found = try? ShardIndex.parse(Self.damage(index, &random), path: "index.json") else { continue }
            parsed += 1
            #expect(
                !found.files.isEmpty
                    && found.files.values.allSatisfy { !$0.hasPrefix("/") && !$0.split(separator: "/").contains("..") })
        }
        #expect(parsed > 0 && parsed < 2000)
    }

    /// Up to four times: flips a bit, writes or inserts a byte that means something in JSON, or leaves a byte out.
    static func damage(_ bytes: [UInt8], _ random: inout SeededGenerator) -> [UInt8] {
        let meaningful = Array("{}[]\":,.-+eE0123456789\\u \u{0}é".utf8)
        var bytes = bytes
        for _ in 0..<Int.random(in: 1...4, using: &random) {
            let place = Int.random(in: 0..<bytes.count, using: &random)
            let byte = meaningful.randomElement(using: &random) ?? 0
            switch Int.random(in: 0..<4, using: &random) {
            case 0: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            case 1: bytes[place] = byte
            case 2: bytes.insert(byte, at: place)
            default: bytes.remove(at: place)
            }
        }
        return bytes
    }
}
