// SPDX-License-Identifier: Apache-2.0
/// How a family declares its rotary embedding.
struct RotaryRule: Sendable {
    var blocks = Blocks.all
    var pairing = Kernels.Pairing.halves
    var baseKey = "rope_theta"
    var missingBase = 10_000.0
    /// Whether the share of a head that turns may be less than 1.
    var turnsPart = false
    /// That share.
    var partKey = "partial_rotary_factor"
    var missingPart = 1.0
    /// Other names of types.
    var typeNames: [String: String] = [:]
    /// What `original_max_position_embeddings` is, whatever stands beside the type, where config.json does not have it at its
    /// top.
    var missingOriginalContext: Double?
    /// Where no object declares any.
    var missingScaling = RotaryParameters.Scaling.none
    /// The only members that `rope_scaling` may have in versions of transformers before 5; nil = any.
    var oldScalingMembers: [String]?
    /// Blocks with a window have parameters of their own; nil = they have those of the others.
    var windowed: Windowed?

    enum Blocks: Sendable {
        case all
        case none
        /// Those that `no_rope_layers` has a 1 for or, without that list, all but every n-th, n by `no_rope_layer_interval`.
        case listed
        /// Those with a window; all of a model that has none, if `orAll`.
        case windowed(orAll: Bool)
    }

    struct Windowed: Sendable {
        /// nil = there is no such key.
        var baseKey: String?
        var missingBase: Double
    }
}

extension RotaryRule {
    /// The rotary embedding of every block; nil where heads do not turn.
    ///
    /// Errors: `.format` if a key is missing, of the wrong type or out of range; `.unsupported` for another type, and for
    /// parameters per kind of layer in families that have none.
    func read(
        _ file: ConfigObject, headSize: Int, contextLength: Int, windows: [Int?]
    ) throws(PruneError) -> [RotaryParameters?] {
        let turned: [Bool]
        switch blocks {
        case .none: return Array(repeating: nil, count: windows.count)
        case .all: turned = Array(repeating: true, count: windows.count)
        case .listed: turned = try Self.readTurnedBlocks(file, windows.count)
        case .windowed(let orAll):
            let isAll = orAll && windows.allSatisfy { $0 == nil }
            turned = windows.map { isAll || $0 != nil }
        }
        let reader = RotaryReader(rule: self, file: file, headSize: headSize, contextLength: Double(contextLength))
        guard let windowed else {
            let parameters = try reader.read()
            return turned.map { $0 ? parameters : nil }
        }
        let others = try reader.readFull()
        let own = try reader.readWindowed(windowed)
        return zip(turned, windows).map { $0 ? ($1 == nil ? others : own) : nil }
    }

    /// Which blocks turn their heads, by `no_rope_layers`.
    static func readTurnedBlocks(_ file: ConfigObject, _ blockCount: Int) throws(PruneError) -> [Bool] {
        let key = "no_rope_layers"
        if file.value(key) != nil {
            let numbers = try file.numbers(key)
            guard numbers.count >= blockCount else {
                throw file.fault(.format, key, "has \(numbers.count) entries; the model has \(blockCount) blocks")
            }
            return numbers.prefix(blockCount).map { $0 != 0 }
        }
        let step = try file.optionalCount("no_rope_layer_interval", limit: ModelConfig.Limits.blocks) ?? 4
        return (0..<blockCount).map { ($0 + 1) % step != 0 }
    }
}
