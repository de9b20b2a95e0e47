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
            unusable[name] = PruneError(
                .unsupported,
                "\(source): tensor \(name.quoted) has dtype \(type.quoted); convert the weights to BF16, F16 or F32")
        }
        self.init(source: source, tensors: tensors, unusable: unusable)
    }

    /// Whether there is a tensor of that name, of whatever type and shape.
    func contains(_ name: String) -> Bool {
        tensors[name] != nil || unusable[name] != nil
    }

    /// The tensor of that name and shape.
    ///
    /// Errors: `.format` if it is missing or of another shape; `.unsupported` if its element type is not fp32, fp16 or
    /// bf16, or it lies in memory as the engine cannot read it. The text names the tensor and the source.
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
