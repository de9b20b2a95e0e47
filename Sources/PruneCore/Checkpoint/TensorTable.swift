// SPDX-License-Identifier: Apache-2.0
/// Named tensors of a model, wherever they live: a mapped checkpoint, or memory of the host.
public struct TensorTable: @unchecked Sendable {
    /// What error texts call it: the directory, or the argument.
    let source: String
    /// What they call the configuration that says which tensors there must be.
    let configuration: String
    private let tensors: [String: StoredTensor]
    /// Tensors that are there, but not as the engine can compute with them: name to what is wrong. They may stand unused,
    /// so they are an error only when asked for.
    private let unusable: [String: PruneError]

    init(
        source: String, configuration: String = "config.json", tensors: [String: StoredTensor],
        unusable: [String: PruneError] = [:]
    ) {
        self.source = source
        self.configuration = configuration
        self.tensors = tensors
        self.unusable = unusable
    }

    /// - Parameter unsupported: tensors of other element types: name to the type's name.
    init(source: String, tensors: [String: StoredTensor], unsupported: [String: String]) {
        var unusable: [String: PruneError] = [:]
        for (name, type) in unsupported {
            unusable[name] = Self.unsupported(name, type, source)
        }
        self.init(source: source, tensors: tensors, unusable: unusable)
    }

    /// The tensors of a GGUF file. A vector that weighs a shared expert is the matrix of one row that it is elsewhere.
    init(_ file: GGUFFile) {
        var unusable: [String: PruneError] = [:]
        for (name, type) in file.unsupported {
            unusable[name] = PruneError(
                .unsupported,
                "\(file.path): tensor \(name.quoted) has type \(type) of ggml, which is not computed with; requantise the model, "
                    + "to Q4_K_M for instance")
        }
        let tensors = file.tensors.mapValues { tensor in
            tensor.shape.count == 1 && tensor.name.hasSuffix("ffn_gate_inp_shexp.weight") ? tensor.asRow : tensor
        }
        self.init(source: file.path, configuration: "its metadata", tensors: tensors, unusable: unusable)
    }

    /// The error of a tensor whose elements the engine does not compute with.
    static func unsupported(_ name: String, _ type: String, _ source: String) -> PruneError {
        PruneError(
            .unsupported,
            "\(source): tensor \(name.quoted) has dtype \(type.quoted); convert the weights to BF16, F16 or F32")
    }

    /// Names of all tensors, usable or not.
    var names: [String] { Array(tensors.keys) + Array(unusable.keys) }

    /// Those that can be computed with.
    var all: [StoredTensor] { Array(tensors.values) }

    /// The same tensors under the names of the configuration's architecture, as transformers finds them.
    ///
    /// Checkpoints of the model without its head have names without "model." in front; some files of tied models store
    /// the one matrix under the head's name alone.
    func named(as config: ModelConfig) -> TensorTable {
        let architecture = config.architecture
        var (tensors, unusable) = (tensors, unusable)
        let prefix = architecture.names.prefix
        if contains(String(architecture.embeddingName.dropFirst(prefix.count))) {
            func full(_ name: String) -> String { name == architecture.headName ? name : prefix + name }
            tensors = Dictionary(uniqueKeysWithValues: tensors.map { (full($0.key), $0.value.renamed(full($0.key))) })
            unusable = Dictionary(uniqueKeysWithValues: unusable.map { (full($0.key), $0.value) })
        }
        if config.tiesEmbeddings, tensors[architecture.embeddingName] == nil,
            unusable[architecture.embeddingName] == nil
        {
            tensors[architecture.embeddingName] = tensors[architecture.headName]?.renamed(architecture.embeddingName)
            unusable[architecture.embeddingName] = unusable[architecture.headName]
        }
        return TensorTable(source: source, configuration: configuration, tensors: tensors, unusable: unusable)
    }

    /// The same tensors but for some, which take the places of those of their names or are added.
    func replacing(_ own: [StoredTensor]) -> TensorTable {
        var (tensors, unusable) = (tensors, unusable)
        for tensor in own {
            tensors[tensor.name] = tensor
            unusable[tensor.name] = nil
        }
        return TensorTable(source: source, configuration: configuration, tensors: tensors, unusable: unusable)
    }

    /// Whether there is a tensor of that name, of whatever type and shape.
    func contains(_ name: String) -> Bool {
        tensors[name] != nil || unusable[name] != nil
    }

    /// Errors: `.unsupported` if there is a bias of that name, which the configuration does not have the model add.
    /// Zeros, which some tools store, change nothing.
    func refuseBias(_ name: String) throws(PruneError) {
        guard let tensor = tensors[name], tensor.bytes.contains(where: { $0 != 0 }) else { return }
        throw PruneError(
            .unsupported,
            "\(source): tensor \(name.quoted) is there, but \(configuration) asks for no such bias, and the model would be "
                + "computed without it; set attention_bias or mlp_bias where the family has them, or take it out")
    }

    /// The tensor of that name and shape.
    ///
    /// Errors: `.format` if it is missing or of another shape; `.unsupported` if the engine does not compute with its element
    /// type, or it lies in memory as the engine cannot read it. The text names the tensor and the source.
    func tensor(_ name: String, shape: [Int]) throws(PruneError) -> StoredTensor {
        if let fault = unusable[name] { throw fault }
        guard let tensor = tensors[name] else {
            throw PruneError(
                .format,
                "\(source): tensor \(name.quoted) is missing; the model needs it with shape \(shape)")
        }
        guard tensor.shape == shape else {
            throw PruneError(
                .format,
                "\(source): tensor \(name.quoted) has shape \(tensor.shape); \(configuration) asks for \(shape)")
        }
        return tensor
    }
}
