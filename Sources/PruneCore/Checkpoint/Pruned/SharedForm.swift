// SPDX-License-Identifier: Apache-2.0
/// A weight that is stored as that of an earlier sublayer and a delta of low rank, without its numbers:
///
///     "shared": {"model.layers.5.mlp.up_proj.weight":
///                {"base": "model.layers.3.mlp.up_proj.weight", "rank": 16, "error": 0.21}}
struct SharedForm: Sendable {
    let sublayer: Int
    let baseSublayer: Int
    /// How the weight would be stored; that of the base is stored alike.
    let projection: StoredProjection
    let base: String
    /// On the base.
    let scale: Float
    /// 0 = the weight is the base.
    let rank: Int
    /// As `SharedTensor.error`.
    let error: Double?

    static let key = "shared"
    private static let ending = ".weight"

    /// The name of a factor: that of the weight with "up" or "down" in it.
    static func factorName(_ factor: String, of weight: String) -> String {
        (weight.hasSuffix(ending) ? String(weight.dropLast(ending.utf8.count)) : weight) + "." + factor + ending
    }

    /// The forms in an object of them, by name of the tensor.
    ///
    /// - Parameters:
    ///   - own: `prunecore` of config.json.
    ///   - absent: sublayers that are no part of the model.
    /// Errors: `.format`, naming the tensor, for one that is no weight of the model, a base that is none of an earlier
    /// sublayer, or is shared itself, or a rank that cannot be.
    static func read(
        _ own: ConfigObject, _ sublayers: [SublayerPlan], absent: Set<Int>
    ) throws(PruneError) -> [SharedForm] {
        guard let all = try own.optionalObject(key) else { return [] }
        var places: [String: (sublayer: Int, projection: StoredProjection)] = [:]
        for (sublayer, plan) in sublayers.enumerated() where !absent.contains(sublayer) {
            for projection in plan.storedProjections { places[projection.tensor] = (sublayer, projection) }
        }
        var forms: [SharedForm] = []
        for name in all.keys {
            let form = try all.object(name)
            guard let (sublayer, projection) = places[name] else {
                throw all.fault(.format, name, "is no weight of a sublayer that is there")
            }
            let base = try form.string("base")
            guard let (baseSublayer, other) = places[base], baseSublayer < sublayer, !all.mentions(base),
                other.shape == projection.shape, other.isTransposed == projection.isTransposed
            else {
                throw form.fault(
                    .format, "base",
                    "is \(base.quoted), which is no stored weight of that shape in an earlier sublayer")
            }
            let most = min(projection.outputs, projection.inputs)
            let rank = try form.optionalCount("rank", from: 0, limit: ModelConfig.Limits.feedForward) ?? 0
            guard rank <= most else { throw form.fault(.format, "rank", "is \(rank); the weight has at most \(most)") }
            let scale = Float(try form.optionalNumber("scale") ?? 1)
            guard scale.isFinite else { throw form.fault(.format, "scale", "is \(scale) as a float") }
            forms.append(
                SharedForm(
                    sublayer: sublayer, baseSublayer: baseSublayer, projection: projection, base: base,
                    scale: scale, rank: rank,
                    error: try form.optionalNumber("error")))
        }
        return forms
    }
}
