// SPDX-License-Identifier: Apache-2.0
/// What prunecore.json says of an exported directory:
///
///     {"format": "prunecore.export", "version": 1, "library": "0.1.0", "kind": "hf_plain", "architecture":
///      "LlamaForCausalLM", "n_blocks": 12, "removed": ["attn.3"], "notes": {"blocks": [0, 1, 3]}, "adapters": null,
///      "source": {"config_sha256": "..."}, "provenance": {},
///      "files": [{"name": "config.json", "bytes": 700, "sha256": "..."}]}
///
/// Where weights were edited before, "edits" says how, as in a mask. `n_blocks` and `removed` are those of the model that was exported; `files` are all others of the directory. A model that
/// was opened from an export continues its account: `source` then has `history`, what the documents of the exports before
/// said but for their files, the first one first.
enum ExportDocument {
    static let name = CheckpointSource.exportDocumentName
    private static let format = "prunecore.export"
    private static let version = 1

    /// Errors: `.format` if the provenance is not a JSON object.
    static func write(
        _ plan: ExportPlan, _ subject: ExportSubject, _ options: ExportOptions, files: [StagedDirectory.StagedFile]
    ) throws(PruneError) -> String {
        let source = subject.source.configuration.withUnsafeBytes { SHA256.hexadecimal(of: $0) }
        let history = history(subject)
        var members: [String: JSONValue] = ["config_sha256": .string(source)]
        if !history.isEmpty { members["history"] = .array(history) }
        let own = subject.model.edits
        let edits = own.isEmpty ? "" : "\n \"edits\": \(EditDocument.write(own)),"
        let written = files.map { file in
            JSONValue.object([
                "name": .string(file.name), "bytes": .integer(file.byteCount), "sha256": .string(file.checksum),
            ]).text
        }
        return """
            {"format": "\(format)", "version": \(version), "library": \(JSONValue.string(options.version).text),
             "kind": "\(plan.format.name)", "architecture": "\(subject.config.architecture.name)",
             "n_blocks": \(subject.mask.blockCount), "removed": [\(MaskDocument.removedNames(subject.mask))],\(edits)
             "notes": \(JSONValue.object(plan.notes).text),
             "adapters": \(describe(subject.adapters).text),
             "source": \(JSONValue.object(members).text),
             "provenance": \(try MaskDocument.checkedProvenance(options.provenance)),
             "files": [\(written.joined(separator: ",\n  "))]}

            """
    }

    /// A document that is none of ours, or damaged, is no history: the checkpoint is sound without it.
    private static func history(_ subject: ExportSubject) -> [JSONValue] {
        guard let text = subject.source.exportDocument,
            case .object(var last)? = try? JSONValue.parse(text, source: name), last["format"] == .string(format)
        else { return [] }
        var earlier: [JSONValue] = []
        if case .object(var source)? = last["source"],
            case .array(let documents)? = source.removeValue(forKey: "history")
        {
            earlier = documents
            last["source"] = .object(source)
        }
        last["files"] = nil
        // What nests so deep that no reader would take it inside another document does not go on.
        let inside = "[[[" + JSONValue.object(last).text + "]]]"
        if (try? JSONValue.parse(Array(inside.utf8), source: name)) == nil { last["provenance"] = nil }
        return earlier + [.object(last)]
    }

    private static func describe(_ adapters: AdapterSet?) -> JSONValue {
        guard let adapters, !adapters.adapters.isEmpty else { return .null }
        return .object([
            "report": AdapterDocument.describe(adapters.report),
            "adapters": .array(
                adapters.adapters.sorted { $0.key < $1.key }.map { sublayer, adapter in
                    AdapterDocument.describe(adapter, at: sublayer, adapters.report)
                }),
        ])
    }

    /// Checks that a directory is one that an export wrote and nobody added to, so that it may go.
    /// Errors: `.file`, saying what speaks against it.
    static func requireReplaceable(_ directory: String) throws(PruneError) {
        let path = directory + "/" + name
        guard let text = try? MappedFile.read(path, limit: AdapterDocument.sizeLimit),
            let file = try? ConfigObject.parse(text, path: path), file.value("format") == .string(format),
            let files = try? file.objects("files").map({ (entry) throws(PruneError) in try entry.string("name") })
        else {
            throw PruneError(
                .file, "\(directory): this is nothing that PruneCore exported, so it is not replaced; give another path"
            )
        }
        let own = Set(files.map { $0.split(separator: "/", maxSplits: 1).first.map(String.init) ?? $0 } + [name])
        if let stranger = Folder.names(in: directory).first(where: { !own.contains($0) }) {
            throw PruneError(
                .file,
                "\(directory): \(stranger.quoted) was not there when PruneCore exported it; move it away, or give another path"
            )
        }
    }
}
