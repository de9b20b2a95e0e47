// SPDX-License-Identifier: Apache-2.0
@testable import PruneCore

/// A model of random fp32 weights, written to a directory and opened from there.
///
/// - Parameters:
///   - architecture: as config.json names it.
///   - changes: raw JSON values of config.json by key, on top of two blocks of width 24, inner width 37, four query heads
///     and two key and value heads of 6, and a vocabulary of 32.
func randomModel(
    _ architecture: String = "LlamaForCausalLM", _ changes: [String: String?] = [:], compute: ComputeType = .float32
) throws -> NativeModel {
    var sizes: [String: String?] = [
        "hidden_size": "24", "intermediate_size": "37", "num_hidden_layers": "2", "num_attention_heads": "4",
        "num_key_value_heads": "2", "head_dim": "6", "vocab_size": "32",
    ]
    for (key, value) in changes { sizes[key] = .some(value) }
    let json = configuration(architecture, sizes)
    let config = try ModelConfig.parse(json, path: "config.json")
    var random = RandomSource(seed: 5, stream: 0)
    var samples: [Sample] = []
    func add(_ name: String, _ shape: [Int], mean: Double = 0, spread: Double) {
        let values = (0..<shape.reduce(1, *)).map { _ in Float(mean + spread * (2 * random.unit() - 1)) }
        samples.append(
            Sample(
                name: name, dtype: "F32", shape: shape, bytes: values.flatMap { withUnsafeBytes(of: $0, Array.init) }))
    }
    func addProjection(_ role: TensorRole, _ block: Int, _ outputs: Int, _ inputs: Int, biased: Bool) {
        // Outputs of variance near 1 for inputs of variance 1.
        add(
            config.architecture.weight(role, block: block), [outputs, inputs], spread: (3 / Double(inputs)).squareRoot()
        )
        if biased { add(config.architecture.bias(role, block: block), [outputs], spread: 1) }
    }
    func addNorm(_ name: String, _ count: Int) { add(name, [count], mean: 1, spread: 0.5) }

    let names = config.architecture
    let (width, inner) = (config.hiddenSize, config.feedForwardSize)
    let (queries, keys) = (config.headCount * config.headSize, config.kvHeadCount * config.headSize)
    add(names.embedding, [config.vocabularySize, width], spread: 1.7)
    addNorm(names.finalNorm, width)
    if !config.tiesEmbeddings { add(names.head, [config.vocabularySize, width], spread: 0.3) }
    for block in 0..<config.blockCount {
        addNorm(names.weight(.inputNorm, block: block), width)
        addNorm(names.weight(.postAttentionNorm, block: block), width)
        for (role, outputs) in [(TensorRole.query, queries), (.key, keys), (.value, keys)] {
            addProjection(role, block, outputs, width, biased: config.hasQueryKeyValueBias)
        }
        addProjection(.output, block, width, queries, biased: config.hasOutputBias)
        if config.hasQueryKeyNorm {
            addNorm(names.weight(.queryNorm, block: block), config.headSize)
            addNorm(names.weight(.keyNorm, block: block), config.headSize)
        }
        for role in [TensorRole.gate, .up] {
            addProjection(role, block, inner, width, biased: config.hasFeedForwardBias)
        }
        addProjection(.down, block, width, inner, biased: config.hasFeedForwardBias)
    }
    let directory = try TemporaryDirectory()
    try directory.write("config.json", json)
    try directory.write("model.safetensors", safetensors(samples))
    // The file stays mapped when the directory goes.
    return try NativeModel(directory: directory.path, compute: compute)
}
