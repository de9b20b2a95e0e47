// SPDX-License-Identifier: Apache-2.0
extension ModelConfig {
    /// The sizes of attention: they depend on each other, both in what missing keys mean and in what fits.
    struct Heads {
        let hiddenSize: Int
        let queryCount: Int
        let keyValueCount: Int
        let size: Int

        static func read(_ file: ConfigObject, _ architecture: Architecture) throws(PruneError) -> Heads {
            let hiddenSize = try file.count("hidden_size", limit: Limits.width)
            let queryCount = try file.count("num_attention_heads", limit: Limits.width)
            let keyValueCount = try readKeyValueCount(file, architecture, queryCount)
            let size = try readSize(file, architecture, hiddenSize, queryCount)
            // Cannot overflow: both are at most Limits.width.
            guard queryCount * size <= Limits.width else {
                throw file.fault(
                    .unsupported, "num_attention_heads",
                    "is \(queryCount) with heads of \(size); this version computes at most \(Limits.width) in all")
            }
            return Heads(hiddenSize: hiddenSize, queryCount: queryCount, keyValueCount: keyValueCount, size: size)
        }

        private static func readKeyValueCount(
            _ file: ConfigObject, _ architecture: Architecture, _ queryCount: Int
        ) throws(PruneError) -> Int {
            let key = "num_key_value_heads"
            // Written as null it means as many as query heads, in every family; left out, what the family says.
            let missing = file.mentions(key) ? nil : architecture.defaults.kvHeadCount
            let count = try file.optionalCount(key, limit: Limits.width) ?? missing ?? queryCount
            guard queryCount % count == 0 else {
                let origin = file.mentions(key) ? "" : " (the default of \(architecture.name))"
                throw file.fault(
                    .format, key, "is \(count)\(origin); it must divide num_attention_heads, which is \(queryCount)")
            }
            return count
        }

        private static func readSize(
            _ file: ConfigObject, _ architecture: Architecture, _ hiddenSize: Int, _ queryCount: Int
        ) throws(PruneError) -> Int {
            let missing = file.mentions("head_dim") ? nil : architecture.defaults.headSize
            let size: Int
            if let declared = try file.optionalCount("head_dim", limit: Limits.width) ?? missing {
                size = declared
            } else {
                guard hiddenSize % queryCount == 0 else {
                    throw file.fault(
                        .format, "hidden_size",
                        "is \(hiddenSize), not a multiple of num_attention_heads, \(queryCount); give head_dim")
                }
                size = hiddenSize / queryCount
            }
            guard size % 2 == 0 else {
                throw file.fault(
                    .unsupported, "head_dim", "is \(size); the rotary embedding needs heads of even size")
            }
            return size
        }
    }
}
