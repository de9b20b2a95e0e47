// SPDX-License-Identifier: Apache-2.0
/// How sliding windows are declared. A window of W lets query i see keys j with i - W < j <= i (`sliding_window_overlay` of
/// transformers).
enum WindowRule: Sendable {
    /// There are none.
    case none
    /// `sliding_window` holds for every block; null = none.
    ///
    /// - Parameter needsUse: whether it does so only if `use_sliding_window` is true.
    case everyBlock(missing: Int?, needsUse: Bool)
    /// Only if `use_sliding_window` is true: for the blocks that `layer_types` calls "sliding_attention" or, without that
    /// list, for those from `max_window_layers` on.
    case laterBlocks
    /// The same, but without the list for every second block before `max_window_layers`.
    case everySecondBlock
    /// For the blocks that `layer_types` calls "sliding_attention" or, without that list, all but every n-th, n by `key`.
    case allButEvery(Int, key: String?, missing: Int)
    /// Only if `use_sliding_window` is true: for the blocks that `layer_types` calls so or, without that list, those whose
    /// heads are not turned.
    case unturnedBlocks
}

extension WindowRule {
    /// What transformers takes a missing `sliding_window` and `max_window_layers` for, in the families of Qwen.
    private static let defaultWindow = 4096
    static let defaultFirstWindowBlock = 28

    /// The window of every block.
    func read(
        _ file: ConfigObject, _ architecture: Architecture, blockCount: Int
    ) throws(PruneError) -> [Int?] {
        let listed = try Self.readBlockTypes(file, blockCount: blockCount)
        switch self {
        case .none:
            try Self.refuse(listed, otherThan: false, file, architecture)
            return Array(repeating: nil, count: blockCount)
        case .everyBlock(let missing, let needsUse):
            let isUsed = needsUse ? try file.bool("use_sliding_window", default: false) : true
            let window = isUsed ? try Self.readWindow(file, missing: missing) : nil
            try Self.refuse(listed, otherThan: window != nil, file, architecture)
            return Array(repeating: window, count: blockCount)
        case .allButEvery(let usual, let key, let missing):
            let window = try Self.readWindow(file, missing: missing)
            // The list goes before the pattern, which some files write as a word.
            if let listed { return listed.map { $0 ? window : nil } }
            let declared = try key.flatMap { key throws(PruneError) in
                try file.optionalCount(key, from: 0, limit: ModelConfig.Limits.blocks)
            }
            let step = declared ?? usual
            // transformers writes 0 where there is no window.
            guard let window else { return Array(repeating: nil, count: blockCount) }
            guard step > 0 else { throw file.fault(.format, key ?? "layer_types", "is 0; it must be at least 1") }
            return (0..<blockCount).map { ($0 + 1) % step != 0 ? window : nil }
        case .laterBlocks, .everySecondBlock, .unturnedBlocks:
            let window = try file.bool("use_sliding_window", default: false) ? try readUsedWindow(file) : nil
            if let listed {
                guard window != nil || !listed.contains(true) else {
                    throw file.fault(
                        .format, "layer_types",
                        "names \"sliding_attention\", but use_sliding_window is false or sliding_window is null")
                }
                return listed.map { $0 ? window : nil }
            }
            return try unlisted(file, blockCount).map { $0 ? window : nil }
        }
    }

    private func readUsedWindow(_ file: ConfigObject) throws(PruneError) -> Int? {
        if case .unturnedBlocks = self { return try Self.readWindow(file, missing: nil) }
        return try Self.readWindow(file, missing: Self.defaultWindow)
    }

    /// Which blocks have the window where no list says it.
    private func unlisted(_ file: ConfigObject, _ blockCount: Int) throws(PruneError) -> [Bool] {
        if case .unturnedBlocks = self { return try RotaryRule.readTurnedBlocks(file, blockCount).map { !$0 } }
        let first =
            try file.optionalCount("max_window_layers", from: 0, limit: ModelConfig.Limits.context)
            ?? Self.defaultFirstWindowBlock
        if case .everySecondBlock = self { return (0..<blockCount).map { $0 % 2 == 0 && $0 < first } }
        return (0..<blockCount).map { $0 >= first }
    }

    private static func readWindow(_ file: ConfigObject, missing: Int?) throws(PruneError) -> Int? {
        guard file.mentions("sliding_window") else { return missing }
        return try file.optionalCount("sliding_window", limit: ModelConfig.Limits.context)
    }

    /// For each block, whether `layer_types` calls it windowed; nil if there is no such list.
    private static func readBlockTypes(_ file: ConfigObject, blockCount: Int) throws(PruneError) -> [Bool]? {
        guard let types = try file.optionalStrings("layer_types") else { return nil }
        guard types.count == blockCount else {
            throw file.fault(
                .format, "layer_types", "has \(types.count) entries; the model has \(blockCount) blocks")
        }
        var isWindowed: [Bool] = []
        for type in types {
            switch type {
            case "sliding_attention": isWindowed.append(true)
            // "attention" is what older files write.
            case "full_attention", "attention": isWindowed.append(false)
            default:
                throw file.fault(
                    .unsupported, "layer_types",
                    "names \(type.quoted); supported are \"full_attention\" and \"sliding_attention\"")
            }
        }
        return isWindowed
    }

    /// Architectures whose windows do not come from `layer_types` ignore it in transformers. A list that says otherwise
    /// belongs to a variant that would be computed wrongly.
    private static func refuse(
        _ isWindowed: [Bool]?, otherThan uniform: Bool, _ file: ConfigObject, _ architecture: Architecture
    ) throws(PruneError) {
        guard let isWindowed, isWindowed.contains(!uniform) else { return }
        throw file.fault(
            .unsupported, "layer_types",
            "names \"\(uniform ? "full" : "sliding")_attention\", which \(architecture.name) does not have here")
    }
}

extension Optional {
    /// `flatMap` for closures that throw errors of one type.
    fileprivate func flatMap<Result>(
        _ transform: (Wrapped) throws(PruneError) -> Result?
    ) throws(PruneError) -> Result? {
        if let self { try transform(self) } else { nil }
    }
}
