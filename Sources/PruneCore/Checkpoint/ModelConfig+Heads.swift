// SPDX-License-Identifier: Apache-2.0
extension ModelConfig {
    /// The sizes of attention: they depend on each other, both in what missing keys mean and in what fits.
    struct Heads {
        let hiddenSize: Int
        let queryCount: Int
        let keyValueCount: Int
        let size: Int

        static func read(_ file: ConfigObject, _ architecture: Architecture) throws(PruneError) -> Heads {
            let keys = architecture.keys
            let hiddenSize = try file.count(keys.hiddenSize, limit: Limits.width)
            let queryCount = try file.count(keys.headCount, limit: Limits.width)
            let keyValueCount = try readKeyValueCount(file, architecture, queryCount)
            let size = try readSize(file, architecture, hiddenSize, queryCount)
            // Cannot overflow: both are at most Limits.width.
            guard queryCount * size <= Limits.width else {
                throw file.fault(
                    .unsupported, keys.headCount,
                    "is \(queryCount) with heads of \(size); this version computes at most \(Limits.width) in all")
            }
            return Heads(hiddenSize: hiddenSize, queryCount: queryCount, keyValueCount: keyValueCount, size: size)
        }

        private static func readKeyValueCount(
            _ file: ConfigObject, _ architecture: Architecture, _ queryCount: Int
        ) throws(PruneError) -> Int {
            guard let key = architecture.keys.kvHeadCount else { return queryCount }
            // Written as null it means as many as query heads, in every family; left out, what the family says.
            let missing = file.mentions(key) ? nil : architecture.keys.missingKVHeadCount
            let count = try file.optionalCount(key, limit: Limits.width) ?? missing ?? queryCount
            guard queryCount % count == 0 else {
                let origin = file.mentions(key) ? "" : " (the default of \(architecture.name))"
                throw file.fault(
                    .format, key,
                    "is \(count)\(origin); it must divide \(architecture.keys.headCount), which is \(queryCount)")
            }
            return count
        }

        private static func readSize(
            _ file: ConfigObject, _ architecture: Architecture, _ hiddenSize: Int, _ queryCount: Int
        ) throws(PruneError) -> Int {
            let keys = architecture.keys
            if let key = keys.headSize {
                let missing = file.mentions(key) ? nil : keys.missingHeadSize
                if let declared = try file.optionalCount(key, limit: Limits.width) ?? missing { return declared }
            }
            guard hiddenSize % queryCount == 0 else {
                throw file.fault(
                    .format, keys.hiddenSize,
                    "is \(hiddenSize), not a multiple of \(keys.headCount), \(queryCount)"
                        + (keys.headSize.map { "; give \($0)" } ?? ""))
            }
            return hiddenSize / queryCount
        }
    }
}
