// SPDX-License-Identifier: Apache-2.0
/// `per_layer_config` of transformers, as far as it says what layers skip: {"08": {"skip": ["attention", "mlp"]}}.
enum LayerSkips {
    static let key = "per_layer_config"
    private static let kinds = ["attention", "mlp"]

    /// Of each layer that skips something, by its key: 0 = attention, 1 = feed-forward. Empty if the file has no such key.
    ///
    /// Errors: `.format` for another word; `.unsupported` if a layer that stays differs in anything else.
    static func read(_ file: ConfigObject) throws(PruneError) -> [String: Set<Int>] {
        guard let layers = try file.optionalObject(key) else { return [:] }
        var found: [String: Set<Int>] = [:]
        for layer in layers.keys {
            let own = try layers.object(layer)
            var skipped: Set<Int> = []
            for word in try own.optionalStrings("skip") ?? [] {
                guard let kind = kinds.firstIndex(of: word) else {
                    throw own.fault(.format, "skip", "names \(word.quoted); layers skip \"attention\" and \"mlp\"")
                }
                skipped.insert(kind)
            }
            // What a layer that is skipped whole would be does not matter.
            if skipped.count < kinds.count, let other = own.unread.keys.sorted().first {
                throw own.fault(.unsupported, other, "gives a layer something of its own; only \"skip\" is supported")
            }
            found[layer] = skipped
        }
        return found
    }

    /// Errors: `.format` for a key that is no number of a layer, or two of one layer.
    static func places(
        _ skips: [String: Set<Int>], in file: ConfigObject, blockCount: Int
    ) throws(PruneError) -> Set<Int> {
        var blocks: Set<Int> = []
        var places: Set<Int> = []
        for (layer, kinds) in skips.sorted(by: { $0.key < $1.key }) {
            let digits = layer.utf8.count <= 9 && layer.utf8.allSatisfy { (0x30...0x39).contains($0) }
            guard digits, let block = Int(layer), block < blockCount else {
                throw file.fault(
                    .format, key, "has the key \(layer.quoted), which is no number of \(blockCount) layers")
            }
            guard blocks.insert(block).inserted else {
                throw file.fault(.format, key, "names layer \(block) twice")
            }
            places.formUnion(kinds.map { 2 * block + $0 })
        }
        return places
    }
}
