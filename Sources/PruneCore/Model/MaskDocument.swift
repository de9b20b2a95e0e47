// SPDX-License-Identifier: Apache-2.0
/// A keep mask as JSON, with a word on where it comes from.
///
///     {"format": "prunecore.mask", "version": 1, "n_blocks": 12, "removed": ["attn.3", "ffn.7"], "provenance": {}}
///
/// One that comes with edits of the weights that stay has them under "edits", and version 2: a library that does not know
/// edits must refuse it, since the mask alone gives another model.
public enum MaskDocument {
    private static let format = "prunecore.mask"
    private static let versionWithEdits = 2

    /// - Parameters:
    ///   - edits: applied before the mask.
    ///   - provenance: a JSON object; nil = an empty one.
    /// Errors: `.format` if it is not.
    public static func write(
        _ mask: KeepMask, edits: [Edit] = [], provenance: String?
    ) throws(PruneError) -> String {
        let version = edits.isEmpty ? 1 : versionWithEdits
        let extra = edits.isEmpty ? "" : "\"edits\": \(EditDocument.write(edits)), "
        return """
            {"format": "\(format)", "version": \(version), "n_blocks": \(mask.blockCount), \
            "removed": [\(removedNames(mask))], \(extra)"provenance": \(try checkedProvenance(provenance))}
            """
    }

    /// The removed sublayers as elements of a JSON array.
    static func removedNames(_ mask: KeepMask) -> String {
        mask.removed.map { "\"\(sublayerName($0))\"" }.joined(separator: ", ")
    }

    /// What a caller gave as provenance, as text of a JSON object inside a document. Errors: `.format` if it is none.
    static func checkedProvenance(_ provenance: String?) throws(PruneError) -> String {
        guard let provenance else { return "{}" }
        try requireMemory(ofText: provenance.utf8.count, "provenance")
        // Read inside an array, because it must not nest too deep for a reader once it is inside the document.
        let inside = try JSONValue.parse(Array("[\(provenance)]".utf8), source: "provenance")
        guard case .array(let values) = inside, values.count == 1, case .object = values[0] else {
            throw PruneError(.format, "provenance must be a JSON object")
        }
        return provenance
    }

    /// Errors: `.format`, with what is wrong; `.unsupported` for a later version, and for a mask with edits, which is no more
    /// than a part of what was written.
    public static func read(_ text: String) throws(PruneError) -> KeepMask {
        let (mask, edits) = try readWithEdits(text)
        guard edits.isEmpty else {
            throw PruneError(
                .unsupported,
                "mask: it has \"edits\" of weights, without which it stands for another model; read it with prune_edited_mask_from_json"
            )
        }
        return mask
    }

    /// Errors: `.format`, with what is wrong; `.unsupported` for a later version, or an edit of a later one.
    public static func readWithEdits(_ text: String) throws(PruneError) -> (mask: KeepMask, edits: [Edit]) {
        try requireMemory(ofText: text.utf8.count, "mask")
        guard case .object(let object) = try JSONValue.parse(Array(text.utf8), source: "mask") else {
            throw PruneError(.format, "mask: the JSON is not an object")
        }
        guard case .string(format) = object["format"] else {
            throw PruneError(.format, "mask: \"format\" is not \"\(format)\"; write masks with prune_mask_to_json")
        }
        guard case .integer(let found) = object["version"], found >= 1 else {
            throw PruneError(.format, "mask: \"version\" is not an integer of at least 1")
        }
        guard found <= versionWithEdits else {
            throw PruneError(
                .unsupported,
                "mask: \"version\" is \(found), this library reads up to \(versionWithEdits); use a newer one")
        }
        let mask = try mask(blocks: object["n_blocks"], removed: object["removed"], source: "mask")
        return (mask, try EditDocument.edits(object["edits"], source: "mask", blocks: mask.blockCount))
    }

    /// The mask that the members "n_blocks" and "removed" of a document give. Errors: `.format`, naming `source`.
    static func mask(blocks: JSONValue?, removed: JSONValue?, source: String) throws(PruneError) -> KeepMask {
        guard case .integer(let blocks) = blocks, (1...KeepMask.mostBlocks).contains(blocks) else {
            throw PruneError(.format, "\(source): \"n_blocks\" is not an integer from 1 to \(KeepMask.mostBlocks)")
        }
        guard case .array(let names) = removed else {
            throw PruneError(.format, "\(source): \"removed\" is not an array of sublayer names")
        }
        var keeps = [UInt8](repeating: 1, count: 2 * blocks)
        for name in names {
            guard case .string(let text) = name, let sublayer = sublayer(named: text), keeps.indices.contains(sublayer)
            else {
                throw PruneError(
                    .format,
                    "\(source): \(name.described) in \"removed\" is not a sublayer of \(blocks) blocks, such as \"attn.0\""
                )
            }
            keeps[sublayer] = 0
        }
        return try KeepMask(bytes: keeps)
    }

    /// Errors: `.memory` if there is none for the copies of a text; the parser asks for what its values take.
    static func requireMemory(ofText bytes: Int, _ source: String) throws(PruneError) {
        try Memory.require(bytes.times(clamping: 3), for: "\(source) of \(bytes) bytes", "give a shorter text")
    }
}
