// SPDX-License-Identifier: Apache-2.0
/// `prunecore` of config.json, which our own exports write: the names of what is missing, and of the adapters in its place.
///
///     "architectures": ["PruneCoreLlamaForCausalLM"], "model_type": "prunecore_llama",
///     "prunecore": {"version": 2, "removed": ["attn.3"], "adapters": {"attn.3": {"kind": "bias", ...}}, ...}
///
/// Version 1, of families that are put together as Llama, had the same members. What version 2 says besides describes the
/// family to modelling files; the row of the family says it here. Version 3 has "widths", the neurons of feed-forwards that
/// have fewer than others, by block; or "shared", which stores some weights as deltas: see `SharedForm`.
enum CustomMarks {
    static let key = "prunecore"
    private static let versions = 1...3
    private static let namePrefix = "PruneCore"
    private static let typePrefix = "prunecore_"

    /// Members that the file of the whole model has otherwise; nil if it is none of ours.
    static func changes(_ file: ConfigObject) throws(PruneError) -> [String: JSONValue]? {
        guard file.value(key) != nil else { return nil }
        var changes: [String: JSONValue] = [key: .null, LayerSkips.key: .null]
        // What is not known of these names keeps them, and is refused by them.
        if let name = try file.optionalStrings("architectures")?.first, name.hasPrefix(namePrefix),
            let family = Architecture.known.first(where: { $0.name == name.dropFirst(namePrefix.utf8.count) })
        {
            changes["architectures"] = .array([.string(family.name)])
        }
        if let type = try file.optionalString("model_type"), type.hasPrefix(typePrefix),
            let family = Architecture.known.first(where: { $0.customType == type })
        {
            changes["model_type"] = .string(family.modelType)
        }
        return changes
    }

    /// Widths of feed-forwards that say theirs, by block; blocks that are none of the model's are found by `absent`.
    ///
    /// Errors: `.format`, naming the block.
    static func widths(_ file: ConfigObject) throws(PruneError) -> [Int: Int] {
        guard let own = try file.optionalObject(key)?.optionalObject("widths") else { return [:] }
        var widths: [Int: Int] = [:]
        for name in own.keys {
            guard let block = Int(name), String(block) == name, block >= 0 else {
                throw own.fault(.format, name, "is not the number of a block")
            }
            widths[block] = try own.count(name, limit: ModelConfig.Limits.feedForward)
        }
        return widths
    }

    /// Errors: as `PrunedConfig.absent`.
    static func absent(
        _ file: ConfigObject, _ architecture: Architecture, _ sublayers: [SublayerPlan], hiddenSize: Int
    ) throws(PruneError) -> AbsentSublayers? {
        let blockCount = sublayers.count / 2
        guard let own = try file.optionalObject(key) else { return nil }
        guard case .integer(let version) = own.value("version"), version >= 1 else {
            throw own.fault(.format, "version", "is not an integer of at least 1")
        }
        guard versions.contains(version) else {
            throw own.fault(
                .unsupported, "version",
                "is \(version), this library reads \(versions.lowerBound) to \(versions.upperBound); use a newer one")
        }
        var absent = AbsentSublayers()
        for name in try own.optionalStrings("removed") ?? [] {
            guard let place = sublayer(named: name), place < 2 * blockCount else {
                throw own.fault(
                    .format, "removed", "names \(name.quoted), which is no sublayer of \(blockCount) blocks")
            }
            absent.places.insert(place)
        }
        if let block = try widths(file).keys.filter({ $0 >= blockCount }).min() {
            throw own.fault(.format, "widths", "names block \(block), and there are \(blockCount) blocks")
        }
        absent.shared = try SharedForm.read(own, sublayers, absent: absent.places)
        guard let adapters = try own.optionalObject("adapters") else { return absent }
        for name in adapters.keys {
            guard let place = sublayer(named: name), absent.places.contains(place) else {
                throw adapters.fault(.format, name, "is not a sublayer that \"removed\" names")
            }
            let form = try AdapterForm.read(try adapters.object(name), at: place)
            absent.adapters[place] = plan(form, architecture, hiddenSize: hiddenSize)
        }
        return absent
    }

    /// Where the tensors of an adapter are: after the module in whose place it stands.
    private static func plan(
        _ form: AdapterForm, _ architecture: Architecture, hiddenSize: Int
    ) -> AdapterPlan {
        let names = architecture.names
        let modules = form.sublayer % 2 == 0 ? names.attention.modules : names.feedForward.modules
        let place = "\(names.blocks).\(form.sublayer / 2).\(modules[0])"
        func name(_ part: AdapterPart) -> String { "\(place).\(part.tensorName)" }
        return AdapterPlan(
            kind: form.kind, rank: form.rank,
            norm: form.epsilon.map {
                NormPlan(
                    kind: form.norm, epsilon: $0, gains: [name(.norm)], shape: [hiddenSize],
                    bias: form.norm == .layer ? name(.normBias) : nil, offset: 0, factor: 1)
            },
            bias: [name(.bias)], mayLackBias: false,
            matrices: AdapterPart.parameters(of: form.kind).filter { $0 != .bias }.map { [name($0)] })
    }
}

extension Architecture {
    /// The `model_type` of models of this family that lack sublayers.
    var customType: String { "prunecore_" + modelType }
}
