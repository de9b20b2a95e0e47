// SPDX-License-Identifier: Apache-2.0
/// A config.json that may be of a pruned model, as two things: the config.json of the whole model, which the row of its
/// family reads, and what is missing from it.
///
/// Notations: `prunecore`, of our own exports; `block_configs` of nemotron-nas; `drop_attn_list` and `drop_mlp_list` of
/// LLM-Drop; `skip` in transformers' `per_layer_config`. Where a file has several, they must name the same sublayers.
struct PrunedConfig {
    let written: ConfigObject
    /// Members that a whole model's config.json has otherwise, by key; null = it has none.
    let changes: [String: JSONValue]
    /// Widths of feed-forwards that have one of their own, by block.
    let feedForwardSizes: [Int: Int]
    /// Of nemotron-nas; nil = the file is of another format.
    let blocks: BlockConfigs?

    /// Errors: `.format` and `.unsupported`, naming the key, for what is wrong with a notation itself. Whether sublayers are
    /// in range is checked by `absent`.
    init(_ written: ConfigObject) throws(PruneError) {
        self.written = written
        let blocks = try BlockConfigs.read(written)
        var changes: [String: JSONValue] = blocks?.changes ?? [:]
        if try !DropLists.read(written).isEmpty {
            for key in DropLists.keys { changes[key] = .null }
        }
        if try !LayerSkips.read(written).isEmpty { changes[LayerSkips.key] = .null }
        if let own = try CustomMarks.changes(written) { changes.merge(own) { $1 } }
        self.blocks = blocks
        let widths = try CustomMarks.widths(written)
        feedForwardSizes = widths.isEmpty ? blocks?.feedForwardSizes ?? [:] : widths
        self.changes = changes
    }

    /// The config.json of the whole model.
    var whole: ConfigObject { changes.isEmpty ? written : written.changed(by: changes) }

    /// What is missing, for a family and sizes that `whole` gave.
    ///
    /// Errors: `.format`, naming the key, for a sublayer out of range or an adapter that cannot be, or if two notations
    /// contradict each other; `.unsupported` for a later version.
    ///
    /// - Parameter sublayers: plans of all of the whole model.
    func absent(
        _ architecture: Architecture, _ sublayers: [SublayerPlan], hiddenSize: Int
    ) throws(PruneError) -> AbsentSublayers {
        let blockCount = sublayers.count / 2
        var found: [(key: String, own: AbsentSublayers)] = []
        if let own = try CustomMarks.absent(written, architecture, sublayers, hiddenSize: hiddenSize) {
            found.append((CustomMarks.key, own))
        }
        if let own = try blocks?.absent(architecture, blockCount: blockCount, hiddenSize: hiddenSize) {
            found.append((BlockConfigs.key, own))
        }
        let lists = try DropLists.read(written)
        if !lists.isEmpty {
            let places = try DropLists.places(lists, in: written, blockCount: blockCount)
            found.append((DropLists.keys[0], AbsentSublayers(places: places)))
        }
        let skips = try LayerSkips.read(written)
        if !skips.isEmpty {
            let places = try LayerSkips.places(skips, in: written, blockCount: blockCount)
            found.append((LayerSkips.key, AbsentSublayers(places: places)))
        }
        guard let first = found.first else { return .none }
        for (key, own) in found.dropFirst() where own.places != first.own.places {
            throw written.fault(.format, key, "names other sublayers as missing than \(first.key) does")
        }
        return first.own
    }
}
