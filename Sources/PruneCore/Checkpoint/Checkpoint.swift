// SPDX-License-Identifier: Apache-2.0
/// Where a model was opened: what an export takes from there beside the weights.
struct CheckpointSource: Sendable {
    let directory: String
    /// config.json as it was read, so that an export fits the weights whatever becomes of the file.
    let configuration: [UInt8]
    /// The model as transformers has it, where it was opened from a file that stores it otherwise; nil = as it was opened.
    var family: ModelConfig?
    /// prunecore.json, where an export made the directory: what the next one continues.
    var exportDocument: [UInt8]?
    static let exportDocumentName = "prunecore.json"

    /// The document of a directory that an export made; nil if there is none that can be read.
    static func exportDocument(in directory: String) -> [UInt8]? {
        let path = directory + "/" + exportDocumentName
        guard MappedFile.exists(path) else { return nil }
        return try? MappedFile.read(path, limit: ModelConfig.sizeLimit)
    }
}

/// A model as it is stored: its configuration, which says what is missing from it, too, and its tensors.
public struct Checkpoint: Sendable {
    let config: ModelConfig
    let tensors: TensorTable
    /// Where it was opened; nil for weights that a host holds.
    let source: CheckpointSource?

    /// Opens `config.json` and `model.safetensors`, or the shards that `model.safetensors.index.json` names; or a GGUF file.
    ///
    /// Whether the tensors fit the configuration is checked when they are asked for.
    /// - Parameters:
    ///   - directory: its path, or that of a GGUF file, of several parts the first.
    ///   - residence: where the tensors are; mapped ones are not copied.
    /// Errors: `.file` if something is missing or unreadable; `.format` if it is damaged or contradicts itself;
    /// `.unsupported` if the model is one that this version does not compute.
    public static func open(
        directory: String, _ residence: FileResidence = .mapped
    ) throws(PruneError) -> Checkpoint {
        do throws(PruneError) { try MappedFile.requireDirectory(directory) } catch {
            if GGUFFile.isOne(directory) { return try open(gguf: directory, residence) }
            try WrongPlace.refuse(directory, error)
        }
        let configPath = join(directory, "config.json")
        let json = try MappedFile.read(configPath, limit: ModelConfig.sizeLimit)
        let config = try ModelConfig.parse(json, path: configPath)
        let stored = try openTensors(directory, residence)
        try QuantisedWeights.refuse(stored.names, in: directory)
        let tensors = stored.named(as: config)
        return Checkpoint(
            config: try config.tied(asStoredIn: tensors), tensors: tensors,
            source: CheckpointSource(
                directory: directory, configuration: json,
                exportDocument: CheckpointSource.exportDocument(in: directory)))
    }

    /// Opens a GGUF file, or the first of those that a model is split into.
    private static func open(gguf path: String, _ residence: FileResidence) throws(PruneError) -> Checkpoint {
        let file = try GGUFFile.open(path, residence)
        let facts = try GGUFFacts(file)
        let description = try GGUFConfig(facts)
        let config = try description.modelConfig()
        return Checkpoint(
            config: config, tensors: TensorTable(file),
            source: CheckpointSource(
                directory: path, configuration: Array(description.text.utf8),
                family: try description.familyConfig()))
    }

    /// A checkpoint in memory of a host.
    ///
    /// - Parameters:
    ///   - configuration: the text of config.json, called `name` in error texts.
    ///   - lent: named as in a checkpoint; those that the model does not need are ignored.
    ///   - memory: what the tensors lie in, which they keep alive.
    /// Errors: as `open`; `.argument` for a tensor that cannot be, or two of one name.
    public static func lent(
        configuration: [UInt8], name: String, _ lent: [LentTensor], in memory: LentMemory
    ) throws(PruneError) -> Checkpoint {
        guard configuration.count <= ModelConfig.sizeLimit else {
            throw PruneError(
                .format, "\(name): the text has \(configuration.count) bytes; at most \(ModelConfig.sizeLimit) are read"
            )
        }
        let table = try TensorTable(lent: lent, in: memory, configuration: name)
        let config = try ModelConfig.parse(configuration, path: name)
        return Checkpoint(config: try config.tied(asStoredIn: table), tensors: table, source: nil)
    }

    private static func openTensors(
        _ directory: String, _ residence: FileResidence
    ) throws(PruneError) -> TensorTable {
        let whole = join(directory, "model.safetensors")
        if MappedFile.exists(whole) {
            let file = try SafetensorsFile.open(whole, residence)
            return TensorTable(source: directory, tensors: file.tensors, unsupported: file.unsupported)
        }
        let index = join(directory, "model.safetensors.index.json")
        guard MappedFile.exists(index) else {
            throw WrongPlace.noWeights(directory)
        }
        return try openShards(try ShardIndex.read(index), directory, residence)
    }

    private static func openShards(
        _ index: ShardIndex, _ directory: String, _ residence: FileResidence
    ) throws(PruneError) -> TensorTable {
        var tensors: [String: StoredTensor] = [:]
        // An index may name what no model of the family needs, and what is not there: an error when it is asked for.
        var unusable: [String: PruneError] = [:]
        for (fileName, entries) in Dictionary(grouping: index.files, by: \.value) {
            let names = entries.map(\.key)
            let shard: SafetensorsFile
            do throws(PruneError) { shard = try SafetensorsFile.open(join(directory, fileName), residence) } catch {
                guard error.kind != .memory else { throw error }
                for name in names { unusable[name] = error }
                continue
            }
            for name in names {
                if let tensor = shard.tensors[name] {
                    tensors[name] = tensor
                } else if let type = shard.unsupported[name] {
                    unusable[name] = TensorTable.unsupported(name, type, directory)
                } else {
                    unusable[name] = PruneError(
                        .format,
                        "\(index.path): tensor \(name.quoted) is mapped to \(fileName.quoted), which does not hold it")
                }
            }
        }
        return TensorTable(source: directory, tensors: tensors, unusable: unusable)
    }

    private static func join(_ directory: String, _ name: String) -> String {
        directory.hasSuffix("/") ? directory + name : directory + "/" + name
    }
}

extension ModelConfig {
    /// The configuration with `tiesEmbeddings` as the weights have it.
    ///
    /// Some checkpoints say that head and embedding are tied, yet store a head of its own. transformers 5.23
    /// (`PreTrainedModel.tie_weights`) then compares the two and does not tie them if they differ; to tie them all the
    /// same would compute another model. Files of tied models rarely store the head, so that mostly nothing is
    /// compared; where it is, reading stops at the first difference.
    func tied(asStoredIn tensors: TensorTable) throws(PruneError) -> ModelConfig {
        guard tiesEmbeddings, tensors.contains(architecture.headName), tensors.contains(architecture.embeddingName)
        else {
            return self
        }
        let shape = [vocabularySize, embedding.width]
        let head = try tensors.tensor(architecture.headName, shape: shape)
        let embedding = try tensors.tensor(architecture.embeddingName, shape: shape)
        // Matrices of different types are used as stored; with the same numbers they give the same outputs.
        if head.hasElements(of: embedding) { return self }
        var config = self
        config.tiesEmbeddings = false
        return config
    }
}
