// SPDX-License-Identifier: Apache-2.0
/// The plan of a model as JSON: what each sublayer computes and where its weights are stored, for those who write other
/// formats or run the modules themselves.
enum PlanDocument {
    static func text(of config: ModelConfig) -> String {
        let embedding = config.embedding
        return JSONValue.object([
            "format": .string("prunecore.plan"), "version": .integer(1),
            "architecture": .string(config.architecture.name), "model_type": .string(config.architecture.modelType),
            "embedding": .object([
                "tensor": .string(config.architecture.embeddingName), "width": .integer(embedding.width),
                "scale": .number(Double(embedding.scale)),
                "positions": embedding.positions.map {
                    .object([
                        "tensor": .string($0.tensor), "rows": .integer($0.rows), "offset": .integer($0.offset),
                    ])
                } ?? .null,
                "projection": json(embedding.projection),
            ]),
            "sublayers": .array(config.sublayers.indices.map { json(config.sublayers[$0], name: sublayerName($0)) }),
            "head": .object([
                "tensor": .string(config.architecture.headName), "is_tied": .bool(config.tiesEmbeddings),
                "norm": json(config.head.norm), "projection": json(config.head.projection),
                "bias": config.head.bias.map { .string($0) } ?? .null, "soft_cap": json(config.head.softCap),
            ]),
        ]).text
    }

    private static func json(_ plan: SublayerPlan, name: String) -> JSONValue {
        let update: JSONValue =
            switch plan.update {
            case .attention(let own): json(own)
            case .feedForward(let own): json(own, kind: "feed_forward")
            case .mixture(let own): json(own)
            }
        return .object([
            "name": .string(name), "before": json(plan.before), "after": json(plan.after), "last": json(plan.last),
            "scale": .number(Double(plan.scale)), "reads_block_input": .bool(plan.readsBlockInput), "update": update,
        ])
    }

    private static func json(_ plan: AttentionPlan) -> JSONValue {
        let inputs: JSONValue =
            switch plan.inputs {
            case .separate(let query, let key, let value):
                .object(["query": json(query), "key": json(key), "value": json(value)])
            case .headByHead(let all): .object(["head_by_head": json(all)])
            }
        func norm(_ own: HeadNormPlan?) -> JSONValue {
            guard let own else { return .null }
            return .object(["norm": json(own.norm), "span": .string("\(own.span)")])
        }
        return .object([
            "kind": .string("attention"), "inputs": inputs, "output": json(plan.output), "clip": json(plan.clip),
            "query_norm": norm(plan.queryNorm), "key_norm": norm(plan.keyNorm), "rotary": json(plan.rotary),
            "scale": .number(Double(plan.scale)), "soft_cap": json(plan.softCap),
            "window": plan.window.map { .integer($0) } ?? .null, "sinks": plan.sinks.map { .string($0) } ?? .null,
        ])
    }

    private static func json(_ plan: FeedForwardPlan, kind: String) -> JSONValue {
        let inputs: JSONValue =
            switch plan.inputs {
            case .gated(let gate, let up): .object(["gate": json(gate), "up": json(up)])
            case .alternating(let both): .object(["alternating": json(both)])
            case .plain(let only): .object(["plain": json(only)])
            }
        var members: [String: JSONValue] = [
            "kind": .string(kind), "inputs": inputs, "down": json(plan.down),
            "activation": .string(plan.activation.name),
        ]
        if case .clamped(let limit, let slope) = plan.activation {
            (members["limit"], members["slope"]) = (.number(Double(limit)), .number(Double(slope)))
        }
        return .object(members)
    }

    private static func json(_ plan: MixturePlan) -> JSONValue {
        .object([
            "kind": .string("mixture"), "router": json(plan.router), "chosen": .integer(plan.chosenCount),
            "is_normalised": .bool(plan.isNormalised),
            "experts": .array(plan.experts.map { json($0, kind: "expert") }),
            "shared": plan.shared.map { json($0, kind: "expert") } ?? .null, "shared_gate": json(plan.sharedGate),
        ])
    }

    private static func json(_ plan: ProjectionPlan?) -> JSONValue {
        guard let plan else { return .null }
        func place(_ own: ProjectionPlan.Place) -> JSONValue {
            .object([
                "tensor": .string(own.tensor), "shape": .array(own.shape.map { .integer($0) }),
                "expert": own.expert.map { .integer($0) } ?? .null, "first": .integer(own.first),
                "is_transposed": .bool(own.isTransposed),
            ])
        }
        return .object([
            "outputs": .integer(plan.outputs), "inputs": .integer(plan.inputs), "weight": place(plan.weight),
            "bias": plan.bias.map(place) ?? .null,
        ])
    }

    private static func json(_ plan: NormPlan?) -> JSONValue {
        guard let plan else { return .null }
        return .object([
            "kind": .string(plan.kind.name), "epsilon": .number(Double(plan.epsilon)),
            "gains": .array(plan.gains.map { .string($0) }), "shape": .array(plan.shape.map { .integer($0) }),
            "bias": plan.bias.map { .string($0) } ?? .null, "offset": .number(Double(plan.offset)),
            "factor": .number(Double(plan.factor)),
        ])
    }

    private static func json(_ rotary: RotaryParameters?) -> JSONValue {
        guard let rotary else { return .null }
        var members: [String: JSONValue] = [
            "size": .integer(rotary.size), "base": .number(rotary.base),
            "pairing": .string(rotary.pairing == .halves ? "halves" : "neighbours"),
            "attention_factor": .number(rotary.attentionFactor),
            "inverse_frequencies": .array(rotary.inverseFrequencies(length: 1).map { .number($0) }),
        ]
        switch rotary.scaling {
        case .none: members["scaling"] = .string("none")
        case .linear(let factor): (members["scaling"], members["factor"]) = (.string("linear"), .number(factor))
        case .dynamic(let factor, _): (members["scaling"], members["factor"]) = (.string("dynamic"), .number(factor))
        case .llama3: members["scaling"] = .string("llama3")
        case .yarn(let rule):
            (members["scaling"], members["factor"]) = (.string("yarn"), .number(rule.factor))
            members["original_context"] = .number(rule.originalContext)
            members["beta_fast"] = .number(rule.betaFast)
            members["beta_slow"] = .number(rule.betaSlow)
        case .longRoPE(let rule):
            members["scaling"] = .string("longrope")
            members["short_factors"] = .array(rule.shortFactors.map { .number($0) })
            members["long_factors"] = .array(rule.longFactors.map { .number($0) })
            members["original_context"] = .integer(rule.originalContext)
        case .proportional(_, let factor):
            (members["scaling"], members["factor"]) = (.string("proportional"), .number(factor))
        }
        return .object(members)
    }

    private static func json(_ number: Float?) -> JSONValue { number.map { .number(Double($0)) } ?? .null }
}
