/// Named tensors of a model, wherever they live: a mapped checkpoint, or memory of the host.
public struct TensorTable: @unchecked Sendable {
    /// What error texts call it: the directory.
    let source: String
    private let tensors: [String: StoredTensor]
    /// Tensors that are there, but of an element type the engine does not compute with: name to the type's name.
    /// They may stand unused in a file, so they are an error only when asked for.
    private let unsupported: [String: String]

    init(source: String, tensors: [String: StoredTensor]) {
        self.init(source: source, tensors: tensors, unsupported: [:])
    }

    init(source: String, tensors: [String: StoredTensor], unsupported: [String: String]) {
        self.source = source
        self.tensors = tensors
        self.unsupported = unsupported
    }

    /// Whether there is a tensor of that name, of whatever type and shape.
    func contains(_ name: String) -> Bool {
        tensors[name] != nil || unsupported[name] != nil
    }

    /// The tensor of that name and shape.
    ///
    /// Errors: `.format` if it is missing or of another shape; `.unsupported` if its element type is not fp32, fp16 or
    /// bf16. The text names the tensor and the source.
    func tensor(_ name: String, shape: [Int]) throws(PruneError) -> StoredTensor {
        if let type = unsupported[name] {
            throw PruneError(
                .unsupported,
                "\(source): tensor \(name.quoted) has dtype \(type.quoted); convert the weights to BF16, F16 or F32")
        }
        guard let tensor = tensors[name] else {
            throw PruneError(
                .format,
                "\(source): tensor \(name.quoted) is missing; the model needs it with shape \(shape)")
        }
        guard tensor.shape == shape else {
            throw PruneError(
                .format,
                "\(source): tensor \(name.quoted) has shape \(tensor.shape); config.json asks for \(shape)")
        }
        return tensor
    }
}
