// SPDX-License-Identifier: Apache-2.0
/// How the blocks of a model are made, for the modelling files of an export: which modules of a block in transformers each
/// sublayer runs, and how the two are put together.
///
/// That of a `SublayerPlan`, by the names of modules.
struct BlockDescription {
    /// What the numbers of blocks stand behind.
    let blocks: String
    let attention: Part
    let feedForward: Part
    let isParallel: Bool
    let updateScale: Float

    /// See `SublayerModules`; `last` is the norm of the sum.
    struct Part: Equatable {
        let modules: [String]
        let besides: [String]
        let before, after, last: String?

        /// Where an adapter stands.
        var place: String { modules[0] }
    }

    /// nil if blocks differ in where their norms are.
    init?(_ config: ModelConfig) {
        let names = config.architecture.names
        let parts = config.sublayers.indices.map { Self.part($0, config) }
        guard let attention = parts.first,
            parts.indices.allSatisfy({ parts[$0] == parts[$0 % 2] })
        else { return nil }
        blocks = names.blocks
        self.attention = attention
        feedForward = parts[1]
        isParallel = config.sublayers[1].readsBlockInput
        updateScale = config.sublayers[0].scale
    }

    private static func part(_ sublayer: Int, _ config: ModelConfig) -> Part {
        let plan = config.sublayers[sublayer]
        let architecture = config.architecture
        let names = sublayer % 2 == 0 ? architecture.names.attention : architecture.names.feedForward
        let isShared = plan.readsBlockInput && architecture.sharesParallelNorm
        let before = isShared ? architecture.names.attention.before : names.before
        return Part(
            modules: names.modules, besides: names.besides, before: plan.before == nil ? nil : before,
            after: plan.after == nil ? nil : names.after, last: plan.last == nil ? nil : names.before)
    }

    func part(_ sublayer: Int) -> Part { sublayer % 2 == 0 ? attention : feedForward }

    var members: [String: JSONValue] {
        [
            "blocks": .string(blocks), "attention": Self.json(attention), "feed_forward": Self.json(feedForward),
            "is_parallel": .bool(isParallel), "update_scale": .number(Double(updateScale)),
        ]
    }

    private static func json(_ part: Part) -> JSONValue {
        func name(_ own: String?) -> JSONValue { own.map { .string($0) } ?? .null }
        return .object([
            "modules": .array(part.modules.map { .string($0) }), "besides": .array(part.besides.map { .string($0) }),
            "before": name(part.before), "after": name(part.after), "last": name(part.last),
        ])
    }
}
