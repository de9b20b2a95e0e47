// SPDX-License-Identifier: Apache-2.0
extension Architecture {
    /// The architectures that this version computes.
    static let supported: [Architecture] = [
        .llama, .mistral, .qwen2, .qwen3,
        .arcee,
        .cohere, .cohere2,
        .ernie,
        .exaone4,
        .gemma, .gemma2, .gemma3,
        .glm, .glm4,
        .gpt2, .gptNeoX,
        .granite,
        .helium,
        .nemotron,
        .olmo, .olmo2, .olmo3,
        .opt,
        .phi, .phi3,
        .seedOSS,
        .smolLM3,
        .stableLM,
        .starCoder2,
        // Mixtures of experts.
        .gptOSS, .graniteMoE, .graniteMoEShared, .mixtral, .olmoE, .qwen2MoE, .qwen3MoE,
    ]

    /// All whose blocks the table takes apart.
    static let known = supported + modulesOnly

    /// The name of the embedding, a matrix [vocabularySize, its width].
    var embeddingName: String { names.embedding + ".weight" }
    /// The name of the head, a matrix [vocabularySize, the embedding's width]; usually not stored if it is the embedding.
    var headName: String { names.head + ".weight" }

    /// The class of its configuration in transformers.
    var configurationClass: String {
        let ending = name.hasSuffix("LMHeadModel") ? "LMHeadModel" : "ForCausalLM"
        let stem = String(name.dropLast(ending.utf8.count))
        // Where the family also has models that see, the text's configuration is a class of its own.
        return stem + (modelType.hasSuffix("_text") ? "TextConfig" : "Config")
    }

    /// The architecture that config.json names: by `architectures` or, without it, by `model_type`.
    ///
    /// Errors: `.unsupported`, with the names that are supported; `.format` if neither is there, or they contradict.
    static func named(in config: ConfigObject) throws(PruneError) -> Architecture {
        let modelType = try config.optionalString("model_type")
        let found: Architecture?
        let key: String
        let named: String
        if let name = try config.optionalStrings("architectures")?.first {
            (key, named) = ("architectures", name)
            found = known.first { $0.name == name }
        } else if let modelType {
            (key, named) = ("model_type", modelType)
            found = known.first { $0.modelType == modelType }
        } else {
            throw config.fault(
                .format, "architectures", "is missing, and so is model_type; one must name the model's family")
        }
        guard let found else {
            let names = supported.map(\.name).joined(separator: ", ")
            throw config.fault(
                .unsupported, key,
                "names \(named.quoted); supported are \(names). Others run in PyTorch: prunecore.torch.wrap(model)")
        }
        guard found.isComputed else {
            throw config.fault(
                .unsupported, key,
                "names \(named.quoted), which runs in PyTorch alone: prunecore.torch.wrap(model). "
                    + "Opened are \(supported.map(\.name).joined(separator: ", "))")
        }
        if let modelType, modelType != found.modelType {
            throw config.fault(
                .format, "model_type",
                "is \(modelType.quoted), but architectures names \(found.name), "
                    + "whose type is \(found.modelType.quoted)")
        }
        return found
    }
}
