// SPDX-License-Identifier: Apache-2.0
/// The weights of a model that the library holds itself, in the places of those of its checkpoint; see `TensorMemory`.
public struct OwnWeights {
    /// By ascending name.
    private let tensors: [StoredTensor]

    /// Of the model underneath, if it has adapters; none if a host runs it.
    public init(of model: any Model) {
        let native = ((model as? RecoveredModel)?.base ?? model) as? NativeModel
        tensors = native?.tensors.held ?? []
    }

    /// Name, element type and shape of each, as a JSON array.
    public var text: String {
        JSONValue.array(
            tensors.map { tensor in
                .object([
                    "name": .string(tensor.name), "element_type": .string(tensor.elementType.rawValue),
                    "shape": .array(tensor.shape.map { .integer($0) }),
                ])
            }
        ).text
    }

    /// Lends the bytes of one, row-major without gaps. Errors: `.argument` if there is none of that name; those of `body`.
    public func withBytes(
        of name: String, _ body: (UnsafeRawBufferPointer) throws(PruneError) -> Void
    ) throws(PruneError) {
        guard let tensor = tensors.first(where: { $0.name == name }) else {
            throw PruneError(
                .argument,
                "the library holds no tensor \(name.quoted) of its own for this model; prune_model_own_weights names those it holds"
            )
        }
        try body(tensor.bytes)
    }
}

extension TensorTable {
    /// Those that lie in memory of the library's own, by ascending name.
    fileprivate var held: [StoredTensor] { all.filter { $0.owner is TensorMemory }.sorted { $0.name < $1.name } }
}
