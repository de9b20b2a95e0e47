// SPDX-License-Identifier: Apache-2.0
@testable import PruneCore

/// A model of random fp32 weights, written to a directory and opened from there.
///
/// - Parameters:
///   - architecture: as config.json names it.
///   - changes: raw JSON values of config.json by key, on top of two blocks of width 24, inner width 37, four query heads
///     and two key and value heads of 6, and a vocabulary of 32.
///   - weights: values of tensors that are not to be random, by name.
func randomModel(
    _ architecture: String = "LlamaForCausalLM", _ changes: [String: String?] = [:], compute: ComputeType = .float32,
    weights: [String: [Float]] = [:]
) throws -> NativeModel {
    var sizes: [String: String?] = [
        "hidden_size": "24", "intermediate_size": "37", "num_hidden_layers": "2", "num_attention_heads": "4",
        "num_key_value_heads": "2", "head_dim": "6", "vocab_size": "32",
    ]
    for (key, value) in changes { sizes[key] = .some(value) }
    let json = configuration(architecture, sizes)
    let config = try ModelConfig.parse(json, path: "config.json")
    let samples = randomSamples(config).map { sample in
        weights[sample.name].map { Sample(name: sample.name, $0, shape: sample.shape) } ?? sample
    }
    let directory = try TemporaryDirectory()
    try directory.write("config.json", json)
    try directory.write("model.safetensors", safetensors(samples))
    // The file stays mapped when the directory goes.
    return try NativeModel(directory: directory.path, compute: compute)
}

/// Random fp32 values for every tensor of a model: projections give outputs of variance near 1 for inputs of variance 1.
func randomSamples(_ config: ModelConfig) -> [Sample] {
    var random = RandomSource(seed: 5, stream: 0)
    return plannedTensors(config).map { tensor in
        var (mean, spread) = (0.0, 1.0)
        switch tensor.use {
        case .embedding: spread = 1.7
        case .head: spread = 0.3
        case .matrix(let inputs): spread = (3 / Double(inputs)).squareRoot()
        case .bias: break
        case .gain(let neutral): (mean, spread) = (Double(neutral), 0.5)
        }
        let values = (0..<tensor.shape.reduce(1, *)).map { _ in Float(mean + spread * (2 * random.unit() - 1)) }
        return Sample(name: tensor.name, values, shape: tensor.shape)
    }
}
