// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

/// Golden values: transformers 5.23, `LlamaRotaryEmbedding(LlamaConfig(hidden_size=64, num_attention_heads=4,
/// head_dim=16, ...))`, `inv_freq` (computed in fp32) and `attention_scaling`.
@Suite struct CheckpointRotaryTests {
    struct Golden: CustomTestStringConvertible, Sendable {
        let name: String
        let keys: [String: String]
        let frequencies: [Double]
        var attentionFactor = 1.0
        var testDescription: String { name }
    }

    static let golden: [Golden] = [
        Golden(
            name: "default", keys: ["rope_theta": "10000.0"],
            frequencies: [1, 0.31622776, 0.1, 0.031622779, 0.01, 0.0031622779, 0.001, 0.00031622779]),
        Golden(
            name: "linear", keys: ["rope_theta": "10000.0", "rope_scaling": #"{"type": "linear", "factor": 4.0}"#],
            frequencies: [
                0.25, 0.079056941, 0.025, 0.0079056947, 0.0025, 0.00079056947, 0.00025, 7.9056947e-05,
            ]),
        Golden(
            name: "llama3",
            keys: [
                "rope_theta": "500000.0", "max_position_embeddings": "131072",
                "rope_scaling": #"{"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,"#
                    + #" "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}"#,
            ],
            frequencies: [
                1, 0.19392276, 0.037606031, 0.0072926651, 0.00052484602, 3.4281024e-05, 6.6478697e-06, 1.2891732e-06,
            ]),
        Golden(
            name: "yarn",
            keys: [
                "max_position_embeddings": "131072",
                "rope_parameters": #"{"rope_theta": 1000000.0, "rope_type": "yarn", "factor": 4.0,"#
                    + #" "original_max_position_embeddings": 32768}"#,
            ],
            frequencies: [
                1, 0.17782794, 0.031622779, 0.0042175599, 0.0005, 4.4456985e-05, 7.9056936e-06, 1.4058534e-06,
            ],
            attentionFactor: 1.138629436111989),
        Golden(
            name: "yarn with every option",
            keys: [
                "rope_theta": "10000.0", "max_position_embeddings": "163840",
                "rope_scaling": #"{"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096,"#
                    + #" "beta_fast": 16, "beta_slow": 2, "mscale": 1.0, "mscale_all_dim": 0.8, "truncate": false}"#,
            ],
            frequencies: [
                1, 0.31622776, 0.1, 0.031622779, 0.0057901046, 0.00012395246, 2.5e-05, 7.9056945e-06,
            ],
            attentionFactor: 1.0569662567531275),
        Golden(
            name: "yarn, factor null",
            keys: [
                "rope_theta": "10000.0", "max_position_embeddings": "16384",
                "rope_scaling": #"{"rope_type": "yarn", "factor": null, "original_max_position_embeddings": 2048,"#
                    + #" "attention_factor": 1.25}"#,
            ],
            frequencies: [
                1, 0.31622776, 0.1, 0.024705295, 0.005625, 0.001087033, 0.000125, 3.9528473e-05,
            ],
            attentionFactor: 1.25),
        Golden(
            name: "yarn, ramp of no width, original context from max_position_embeddings",
            keys: [
                "rope_theta": "10000.0", "max_position_embeddings": "64",
                "rope_scaling": #"{"rope_type": "yarn", "factor": 2.0, "beta_fast": 4, "beta_slow": 4,"#
                    + #" "truncate": false}"#,
            ],
            frequencies: [
                1, 0.15811388, 0.05, 0.015811389, 0.005, 0.0015811389, 0.0005, 0.00015811389,
            ],
            attentionFactor: 1.0693147180559945),
        Golden(
            name: "yarn, original context beside the object",
            keys: [
                "rope_theta": "10000.0", "max_position_embeddings": "16384", "original_max_position_embeddings": "1024",
                "rope_scaling": #"{"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 2048}"#,
            ],
            frequencies: [
                1, 0.31622776, 0.078125, 0.017787812, 0.0034375, 0.00039528473, 0.000125, 3.9528473e-05,
            ],
            attentionFactor: 1.2079441541679836),
    ]

    @Test(arguments: golden)
    func matchesTransformers(_ golden: Golden) throws {
        let rotary = try #require(try parse("LlamaForCausalLM", golden.keys).rotary)
        let frequencies = rotary.inverseFrequencies(length: 1)
        #expect(frequencies.count == golden.frequencies.count)
        for (own, wanted) in zip(frequencies, golden.frequencies) {
            #expect(abs(own / wanted - 1) < 1e-6, "\(own), transformers \(wanted)")
        }
        #expect(abs(rotary.attentionFactor - golden.attentionFactor) < 1e-12)
    }

    @Test func defaultByHand() {
        func frequencies(_ size: Int, _ base: Double, _ scaling: RotaryParameters.Scaling = .none) -> [Double] {
            RotaryParameters(size: size, pairing: .halves, base: base, scaling: scaling).inverseFrequencies(length: 1)
        }
        #expect(frequencies(4, 10_000) == [1, 0.01])
        #expect(frequencies(2, 10_000) == [1])
        #expect(frequencies(0, 10_000).isEmpty)
        #expect(frequencies(-4, 10_000).isEmpty)
        #expect(frequencies(4, 16, .linear(factor: 2)) == [0.5, 0.125])
    }

    @Test func readsOldAndNewKeys() throws {
        func rotary(_ keys: [String: String]) throws -> RotaryParameters? { try parse("LlamaForCausalLM", keys).rotary }
        func own(_ base: Double, _ scaling: RotaryParameters.Scaling) -> RotaryParameters {
            RotaryParameters(size: 16, pairing: .halves, base: base, scaling: scaling)
        }
        let linear = own(500, .linear(factor: 2))
        for type in ["type", "rope_type"] {
            let object = #"{"\#(type)": "linear", "factor": 2}"#
            #expect(try rotary(["rope_theta": "500", "rope_scaling": object]) == linear)
            #expect(try rotary(["rope_theta": "500", "rope_parameters": object]) == linear)
            let whole = #"{"rope_theta": 500, "\#(type)": "linear", "factor": 2}"#
            #expect(try rotary(["rope_parameters": whole]) == linear)
        }
        // rope_scaling goes before rope_parameters, and the object's base before that beside it.
        #expect(
            try rotary([
                "rope_scaling": #"{"type": "linear", "factor": 2, "rope_theta": 500}"#, "rope_theta": "7",
                "rope_parameters": #"{"rope_type": "default", "rope_theta": 9}"#,
            ]) == linear)
        let plain = own(500, .none)
        #expect(try rotary(["rope_theta": "500", "rope_scaling": "null"]) == plain)
        #expect(try rotary(["rope_theta": "500", "rope_scaling": "{}"]) == plain)
        #expect(try rotary(["rope_scaling": "{}", "rope_parameters": #"{"rope_theta": 500}"#]) == plain)
        #expect(try rotary(["rope_scaling": "null", "rope_parameters": "null"])?.base == 10_000)
        #expect(try rotary(["partial_rotary_factor": "1.0"])?.base == 10_000)
    }

    @Test(arguments: [
        (#"{"rope_type": "ntk", "factor": 2}"#, "rope_scaling.rope_type", "ntk"),
        (#"{"type": "mrope"}"#, "rope_scaling.type", "mrope"),
        (#"{"rope_type": "linear", "factor": 2, "partial_rotary_factor": 0.25}"#, "partial_rotary_factor", "0.25"),
        (#"{"full_attention": {"rope_type": "default"}}"#, "rope_scaling.full_attention", "not supported"),
    ])
    func refusesWhatItDoesNotCompute(_ object: String, _ key: String, _ word: String) {
        expectFault(.unsupported, naming: "model/config.json", key, word) {
            _ = try parse("LlamaForCausalLM", ["rope_scaling": object])
        }
    }

    @Test(arguments: [
        (#"{"type": "linear"}"#, "rope_scaling.factor is missing"),
        (#"{"type": "linear", "factor": 0}"#, "above 0"),
        (#"{"type": "linear", "factor": "2"}"#, "a finite number"),
        (#"{"type": 3}"#, "a string"),
        (#"{"type": "linear", "factor": 1e-320}"#, "not finite"),
        (#"{"type": "llama3", "factor": 8, "low_freq_factor": 1}"#, "high_freq_factor is missing"),
        (#"{"type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4}"#, "above low_freq_factor"),
        (#"{"type": "yarn"}"#, "factor is missing"),
        (#"{"type": "yarn", "factor": 2, "rope_theta": 1}"#, "rope_theta"),
        (#"{"type": "yarn", "factor": 2, "attention_factor": 0}"#, "attention factor"),
        (#"{"type": "yarn", "factor": 2, "mscale": -1, "mscale_all_dim": -14.426950408889635}"#, "attention factor"),
        (#"{"type": "yarn", "factor": 2, "beta_fast": -1}"#, "beta_fast"),
        (#"{"type": "yarn", "factor": 2, "beta_fast": 1e-320}"#, "not finite"),
        (#"{"type": "yarn", "factor": 2, "original_max_position_embeddings": 0}"#, "original_max_position_embeddings"),
        (#"{"type": "dynamic"}"#, "rope_scaling.factor is missing"),
        (#"{"type": "dynamic", "factor": 0.5}"#, "dynamic needs at least 1"),
        (#"{"type": "longrope", "factor": 2}"#, "short_factor is missing"),
        (
            #"{"type": "longrope", "short_factor": [1], "long_factor": [1]}"#,
            "short_factor has 1 numbers; it must have 8"
        ),
        (
            #"{"type": "longrope", "short_factor": [1, 1, 1, 1, 1, 1, 1, 0], "long_factor": []}"#,
            "all of them above 0"
        ),
        (
            #"{"type": "longrope", "original_max_position_embeddings": 1, "short_factor": [], "long_factor": []}"#,
            "longrope needs more than 1"
        ),
        (#"{"rope_theta": -1}"#, "rope_theta"),
        (#"{"rope_theta": 0.5}"#, "rope_theta is 0.5; it must be at least 1"),
        (#"[]"#, "rope_scaling"),
    ])
    func refusesBadValues(_ object: String, _ word: String) {
        expectFault(.format, naming: "model/config.json", word) {
            _ = try parse("LlamaForCausalLM", ["rope_scaling": object])
        }
    }
}
