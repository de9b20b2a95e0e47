// SPDX-License-Identifier: Apache-2.0
extension ModelConfig {
    /// What transformers takes a missing `sliding_window` and `max_window_layers` for, where the family has them.
    private static let defaultWindow = 4096
    static let defaultFirstWindowBlock = 28

    /// The window of every block, by the rule of the architecture.
    ///
    /// A window of W lets query i see keys j with i - W < j <= i (`sliding_window_overlay` of transformers).
    static func readWindows(
        _ file: ConfigObject, _ architecture: Architecture, blockCount: Int
    ) throws(PruneError) -> [Int?] {
        let isWindowed = try readBlockTypes(file, blockCount: blockCount)
        switch architecture.windowRule {
        case .none:
            try refuse(isWindowed, otherThan: false, file, architecture)
            return Array(repeating: nil, count: blockCount)
        case .everyBlock:
            let window = try readWindow(file)
            try refuse(isWindowed, otherThan: window != nil, file, architecture)
            return Array(repeating: window, count: blockCount)
        case .someBlocks:
            let window = try file.bool("use_sliding_window", default: false) ? try readWindow(file) : nil
            if let isWindowed {
                guard window != nil || !isWindowed.contains(true) else {
                    throw file.fault(
                        .format, "layer_types",
                        "names \"sliding_attention\", but use_sliding_window is false or sliding_window is null")
                }
                return isWindowed.map { $0 ? window : nil }
            }
            let first =
                try file.optionalCount("max_window_layers", from: 0, limit: Limits.context) ?? defaultFirstWindowBlock
            return (0..<blockCount).map { $0 >= first ? window : nil }
        }
    }

    private static func readWindow(_ file: ConfigObject) throws(PruneError) -> Int? {
        guard file.mentions("sliding_window") else { return defaultWindow }
        return try file.optionalCount("sliding_window", limit: Limits.context)
    }

    /// For each block, whether `layer_types` calls it windowed; nil if there is no such list.
    private static func readBlockTypes(_ file: ConfigObject, blockCount: Int) throws(PruneError) -> [Bool]? {
        guard let types = try file.optionalStrings("layer_types") else { return nil }
        guard types.count == blockCount else {
            throw file.fault(
                .format, "layer_types", "has \(types.count) entries; num_hidden_layers is \(blockCount)")
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
