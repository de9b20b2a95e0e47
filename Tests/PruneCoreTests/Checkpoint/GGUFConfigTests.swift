// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

/// What config.json the metadata of a file becomes.
@Suite struct GGUFConfigTests {
    /// A file with the sizes of a small model, and the tensors that are looked for.
    private static func file(_ architecture: String, layers: UInt32 = 6) -> GGUFBytes {
        var file = GGUFBytes()
        file.set("general.architecture", architecture)
        for (key, value) in [
            "block_count": layers, "context_length": 1 << 17, "embedding_length": 64, "feed_forward_length": 96,
            "attention.head_count": 4, "attention.head_count_kv": 2, "attention.key_length": 16,
            "attention.value_length": 16,
        ] {
            file.set("\(architecture).\(key)", value)
        }
        file.set("\(architecture).attention.layer_norm_rms_epsilon", Float(1e-6))
        file.add("token_embd.weight", [64, 2], Array(repeating: 0, count: 128))
        return file
    }

    private static func config(_ file: GGUFBytes) throws -> GGUFConfig { try GGUFConfig(GGUFFacts(file.opened())) }

    private static func rotary(_ config: GGUFConfig) throws -> [String: JSONValue] {
        guard case .object(let members)? = config.members["rope_parameters"] else {
            throw PruneError(.internal, "none")
        }
        return members
    }

    @Test func floatsAreTheDecimalsThatTheyWere() throws {
        let config = try Self.config(Self.file("llama"))
        #expect(config.members["rms_norm_eps"] == .number(1e-6))
        #expect(config.members["tie_word_embeddings"] == .bool(true))
    }

    /// Llama 3.1's rule is found in the divisors that llama.cpp's converter makes of it.
    @Test(arguments: [(8.0, 8192.0), (32.0, 8192.0), (4.0, 4096.0)])
    func divisorsOfLlama3AreItsRule(_ factor: Double, _ context: Double) throws {
        let rule = RotaryParameters.Llama3(
            factor: factor, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalContext: context)
        let plain = RotaryParameters(size: 128, pairing: .halves, base: 500_000, scaling: .none)
        let scaled = RotaryParameters(size: 128, pairing: .halves, base: 500_000, scaling: .llama3(rule))
        let divisors = zip(plain.inverseFrequencies(length: 1), scaled.inverseFrequencies(length: 1)).map {
            Float($0 / $1)
        }
        var file = Self.file("llama")
        file.set("llama.rope.freq_base", Float(500_000))
        file.add("rope_freqs.weight", [64], divisors)
        let found = try Self.rotary(Self.config(file))
        #expect(found["rope_type"] == .string("llama3"))
        #expect(found["factor"] == .number(factor))
        #expect(found["original_max_position_embeddings"] == .integer(Int(context)))
    }

    @Test func otherDivisorsAreThoseOfLongRoPE() throws {
        var file = Self.file("llama")
        file.add("rope_freqs.weight", [8], [1, 1.5, 2, 2.5, 3, 3, 3, 3.25])
        let found = try Self.rotary(Self.config(file))
        #expect(found["rope_type"] == .string("longrope"))
        #expect(found["attention_factor"] == .number(1))
        let config = try Self.config(file).modelConfig()
        guard case .attention(let attention) = config.sublayers[0].update else { throw PruneError(.internal, "none") }
        let frequencies = try #require(attention.rotary).inverseFrequencies(length: 4)
        #expect(abs(frequencies[7] * 3.25 - 1 / 10_000 * 10_000.0.squareRoot().squareRoot().squareRoot()) < 1e-7)
    }

    @Test func divisorsThatAreNoneAreRefused() throws {
        for values in [[Float](repeating: 0, count: 8), [.nan] + [Float](repeating: 1, count: 7)] {
            var file = Self.file("llama")
            file.add("rope_freqs.weight", [8], values)
            #expect(throws: PruneError.self) { try Self.config(file) }
        }
    }

    @Test func windowsAreListedByKeyOrPattern() throws {
        var file = Self.file("gemma3")
        file.set("gemma3.attention.sliding_window", UInt32(512))
        let windowed = JSONValue.string("sliding_attention")
        let full = JSONValue.string("full_attention")
        #expect(
            try Self.config(file).members["layer_types"]
                == .array([windowed, windowed, windowed, windowed, windowed, full]))
        file.set("gemma3.attention.sliding_window_pattern", [true, false, true, false, true, false])
        #expect(
            try Self.config(file).members["layer_types"] == .array([windowed, full, windowed, full, windowed, full]))
    }

    @Test func layersThatDifferAreRefusedByName() throws {
        var file = Self.file("llama", layers: 2)
        file.values.removeAll { $0.key == "llama.feed_forward_length" }
        let counts = GGUFBytes.number(UInt32(9)) + GGUFBytes.number(UInt32(4)) + GGUFBytes.number(UInt64(2))
        file.values.append(
            ("llama.feed_forward_length", counts + GGUFBytes.number(UInt32(96)) + GGUFBytes.number(UInt32(64))))
        #expect { try Self.config(file) } throws: {
            ($0 as? PruneError)?.message.contains("llama.feed_forward_length differs between layers (96, 64)") ?? false
        }
    }

    @Test func otherArchitecturesAreNamed() {
        #expect { try Self.config(Self.file("mamba")) } throws: {
            ($0 as? PruneError)?.message.contains("\"mamba\"; opened are llama, deci") ?? false
        }
    }
}
