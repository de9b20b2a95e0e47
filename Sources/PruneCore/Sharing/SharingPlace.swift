// SPDX-License-Identifier: Apache-2.0
/// A weight that is to become a delta, and the one that it is to share.
struct SharingPlace: Sendable {
    let sublayer: Int
    let baseSublayer: Int
    let projection: StoredProjection
    let base: String

    var name: String { projection.tensor }

    /// The weights that a sublayer can share with an earlier one; nil if they do not fit: another kind, other shapes, or weights
    /// that are deltas themselves.
    static func places(of sublayer: Int, base: Int, in model: NativeModel) -> [SharingPlace]? {
        guard base < sublayer, base % 2 == sublayer % 2, !model.weights.sublayers[base].isAbsent else { return nil }
        let (own, other) = (
            model.config.sublayers[sublayer].storedProjections, model.config.sublayers[base].storedProjections
        )
        guard !own.isEmpty, own.count == other.count else { return nil }
        var places: [SharingPlace] = []
        for (projection, base_) in zip(own, other) {
            guard projection.name == base_.name, projection.shape == base_.shape, projection.tensor != base_.tensor,
                projection.isTransposed == base_.isTransposed, model.sharing.tensors[base_.tensor] == nil
            else { return nil }
            places.append(
                SharingPlace(sublayer: sublayer, baseSublayer: base, projection: projection, base: base_.tensor))
        }
        return places
    }

    /// Bytes of a direction of the delta.
    func bytesPerRank(_ type: ElementType) -> Int {
        SharedTensor.factorType(type).bytes(of: projection.outputs + projection.inputs)
    }
}

extension NativeModel {
    /// What the weight of a place is stored in; of one that is a delta, what it was stored in before.
    func wholeType(of place: SharingPlace) -> ElementType {
        sharing.tensors[place.name]?.elementType
            ?? (try? tensors.tensor(place.name, shape: place.projection.shape))?.elementType ?? .float32
    }

    /// A weight of a sublayer in double, outputs x inputs. Errors: `.file` if its file changed; `.memory`.
    func doubles(_ projection: StoredProjection) throws(PruneError) -> [Double] {
        let stored = try tensors.tensor(projection.tensor, shape: projection.shape).widened()
        guard projection.isTransposed else { return stored.map(Double.init) }
        let (outputs, inputs) = (projection.outputs, projection.inputs)
        var turned = [Double](repeating: 0, count: stored.count)
        for input in 0..<inputs {
            for output in 0..<outputs { turned[output * inputs + input] = Double(stored[input * outputs + output]) }
        }
        return turned
    }

    /// The difference of two weights, in the metric of a root of their inputs' moments. Errors: as above.
    func difference(
        _ place: SharingPlace, root: CholeskyFactor?, scaled: Bool
    ) throws(PruneError) -> WeightDifference {
        let (outputs, inputs) = (place.projection.outputs, place.projection.inputs)
        try Memory.require(
            WeightDifference.bytes(outputs: outputs, inputs: inputs), for: "the delta of \(place.name.quoted)",
            "end other work first")
        let base = StoredProjection(
            name: place.projection.name, tensor: place.base, shape: place.projection.shape,
            isTransposed: place.projection.isTransposed, parts: place.projection.parts, isLast: place.projection.isLast)
        return WeightDifference(
            try doubles(place.projection), try doubles(base), outputs: outputs, inputs: inputs, root: root,
            scaled: scaled)
    }
}
