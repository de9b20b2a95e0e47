// SPDX-License-Identifier: Apache-2.0
/// A projection of a sublayer, and what it is called.
struct NamedProjection: Sendable {
    /// "query", "key", "value", "query_key_value", "output"; "gate", "up", "gate_up", "down".
    let name: String
    let plan: ProjectionPlan
}

extension SublayerPlan {
    /// The projections in the order in which the engine keeps them, that of the update last; none of a mixture, whose experts
    /// are a world of their own.
    var namedProjections: [NamedProjection] {
        switch update {
        case .attention(let plan):
            let inputs: [NamedProjection] =
                switch plan.inputs {
                case .separate(let query, let key, let value):
                    [
                        NamedProjection(name: "query", plan: query), NamedProjection(name: "key", plan: key),
                        NamedProjection(name: "value", plan: value),
                    ]
                case .headByHead(let all): [NamedProjection(name: "query_key_value", plan: all)]
                }
            return inputs + [NamedProjection(name: "output", plan: plan.output)]
        case .feedForward(let plan):
            let inputs: [NamedProjection] =
                switch plan.inputs {
                case .gated(let gate, let up):
                    [NamedProjection(name: "gate", plan: gate), NamedProjection(name: "up", plan: up)]
                case .alternating(let both): [NamedProjection(name: "gate_up", plan: both)]
                case .plain(let only): [NamedProjection(name: "up", plan: only)]
                }
            return inputs + [NamedProjection(name: "down", plan: plan.down)]
        case .mixture: return []
        }
    }

    /// The matrices that the projections are stored in, each once; a name is "gate_up" where one tensor holds both.
    var storedProjections: [StoredProjection] {
        let all = namedProjections
        var found: [StoredProjection] = []
        for (index, own) in all.enumerated() {
            let place = own.plan.weight
            if let same = found.firstIndex(where: { $0.tensor == place.tensor }) {
                found[same].name += "_" + own.name
                found[same].parts.append(index)
                continue
            }
            guard place.expert == nil, place.shape.count == 2 else { continue }
            found.append(
                StoredProjection(
                    name: own.name, tensor: place.tensor, shape: place.shape, isTransposed: place.isTransposed,
                    parts: [index], isLast: index == all.count - 1))
        }
        return found
    }
}

/// A matrix that one projection of a sublayer is stored in, or several that read the same rows.
struct StoredProjection: Sendable {
    var name: String
    let tensor: String
    /// As stored.
    let shape: [Int]
    /// Whether inputs are rows.
    let isTransposed: Bool
    /// Which of `namedProjections`.
    var parts: [Int]
    /// Whether it gives the update, so that it reads what the sublayer computed inside; else it reads the sublayer's input.
    let isLast: Bool

    var outputs: Int { shape[isTransposed ? 1 : 0] }
    var inputs: Int { shape[isTransposed ? 0 : 1] }
}
