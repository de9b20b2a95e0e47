// SPDX-License-Identifier: Apache-2.0
/// The shared weights of a model as hf_custom stores them: the base once, and the factors of each delta beside the module in
/// whose place they stand.
///
/// A weight whose base the mask removes is stored whole, as its type has it.
struct SharedExport {
    /// By the name of the weight in transformers.
    private let weights: [String: (base: String, shared: SharedTensor, order: [Int]?)]

    /// Errors: `.unsupported` if transformers stores a weight together with others that the file of the model has apart.
    init(_ subject: ExportSubject) throws(PruneError) {
        var weights: [String: (base: String, shared: SharedTensor, order: [Int]?)] = [:]
        let model = subject.model
        for (name, shared) in model.sharing.tensors.sorted(by: { $0.key < $1.key }) {
            guard subject.mask.keeps(shared.sublayer), subject.mask.keeps(shared.baseSublayer) else { continue }
            guard let converted = subject.converted else {
                weights[name] = (shared.base, shared, nil)
                continue
            }
            let places = [shared.sublayer, shared.baseSublayer].map { sublayer in
                converted.family.sublayers[sublayer].storedProjections.first { $0.name == shared.projection.name }
            }
            guard let own = places[0], let base = places[1], own.outputs == shared.projection.outputs,
                own.inputs == shared.projection.inputs
            else {
                throw PruneError(
                    .unsupported,
                    "hf_custom cannot hold the shared weight \(name.quoted): transformers stores it together with others, which the file of this model has apart; hf_plain stores it whole"
                )
            }
            weights[own.tensor] = (
                base.tensor, shared,
                converted.rowOrder(ofProjection: own.parts[0], shared.sublayer, rows: own.outputs)
            )
        }
        self.weights = weights
    }

    var isEmpty: Bool { weights.isEmpty }

    /// `shared` of config.json.
    var forms: [String: JSONValue] {
        weights.mapValues { base, shared, _ in
            var members: [String: JSONValue] = ["base": .string(base), "rank": .integer(shared.rank)]
            if shared.scale != 1 { members["scale"] = .number(Double(shared.scale)) }
            if let error = shared.error, error.isFinite { members["error"] = .number(error) }
            return .object(members)
        }
    }

    /// What prunecore.json says of them.
    var notes: [String: JSONValue] {
        guard !isEmpty else { return [:] }
        let all = weights.values.map(\.shared)
        return [
            "shared": .object([
                "weights": .integer(all.count), "bytes": .integer(all.reduce(0) { $0 + $1.byteCount }),
                "bytes_whole": .integer(all.reduce(0) { $0 + $1.wholeBytes }),
            ])
        ]
    }

    /// Some tensors of the model, with factors in the places of weights that are shared.
    func replaced(_ tensors: [ExportPlan.Tensor]) -> [ExportPlan.Tensor] {
        tensors.flatMap { tensor -> [ExportPlan.Tensor] in
            guard let (_, shared, order) = weights[tensor.name] else { return [tensor] }
            guard let (up, down) = shared.factors else { return [] }
            let rows = StoredMatrix(up, rows: up.shape[0], columns: up.shape[1])
            return [
                ExportPlan.Tensor(
                    name: SharedForm.factorName("up", of: tensor.name),
                    content: .converted(
                        ConvertedTensor(
                            shape: up.shape, elementType: up.elementType, isTransposed: false,
                            matrices: [[ConvertedTensor.Piece(source: rows, order: order)]]))),
                ExportPlan.Tensor(name: SharedForm.factorName("down", of: tensor.name), content: .stored(down)),
            ]
        }
    }
}
