// SPDX-License-Identifier: Apache-2.0
/// The table of families as JSON, for those who run the modules of transformers themselves.
public enum ArchitectureDocument {
    /// A JSON array with an object for each architecture: its name, `model_type`, the classes of a block and of the
    /// configuration in transformers, the modules of both sublayers in a block, and how they are put together; and whether the
    /// engine computes it. A fact that config.json decides is an object with the key and what it means where it is missing.
    public static var text: String {
        JSONValue.array(Architecture.known.map(json)).text
    }

    private static func json(_ own: Architecture) -> JSONValue {
        let placing: JSONValue =
            switch own.norm.placing {
            case .beforeSublayers, .declared: .bool(true)
            case .beforeIf(let key, let missing): setting(key, .bool(missing))
            }
        return .object([
            "name": .string(own.name), "model_type": .string(own.modelType), "block_class": .string(own.blockClass),
            "config_class": .string(own.configurationClass), "is_computed": .bool(own.isComputed),
            "attention": json(own.names.attention), "feed_forward": json(own.names.feedForward),
            "norm": .string(own.norm.kind.name), "norm_offset": .number(Double(own.norm.offset)),
            "norms_before": placing, "is_parallel": json(own.isParallel),
            "shares_parallel_norm": .bool(own.sharesParallelNorm), "update_scale": json(own.updateScale),
            "is_mixture": .bool(own.mixture != nil),
            "other_blocks_if": .array(own.otherBlocksIf.map { .string($0) }),
        ])
    }

    private static func json(_ names: SublayerModules) -> JSONValue {
        .object([
            "modules": .array(names.modules.map { .string($0) }), "besides": .array(names.besides.map { .string($0) }),
            "before": name(names.before), "before_instead": name(names.beforeInstead), "after": name(names.after),
            "adds_input": .bool(names.addsInput),
        ])
    }

    private static func name(_ own: String?) -> JSONValue { own.map { .string($0) } ?? .null }

    private static func json(_ own: Setting<Bool>) -> JSONValue {
        switch own {
        case .fixed(let value): .bool(value)
        case .key(let key, let missing): setting(key, .bool(missing))
        }
    }

    private static func json(_ own: Setting<Double>) -> JSONValue {
        switch own {
        case .fixed(let value): .number(value)
        case .key(let key, let missing): setting(key, .number(missing))
        }
    }

    private static func setting(_ key: String, _ missing: JSONValue) -> JSONValue {
        .object(["key": .string(key), "missing": missing])
    }
}
