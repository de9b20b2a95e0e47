// SPDX-License-Identifier: Apache-2.0
/// Edits as JSON: an array of objects, each with a "kind".
public enum EditDocument {
    /// Edits of one document at most. A bound for checks, beyond what any search gives.
    static let most = 2 * KeepMask.mostBlocks

    /// - Parameters:
    ///   - source: what errors call the text.
    ///   - blocks: of the model, or as many as any may have.
    /// Errors: `.format`, naming the edit and its member; `.unsupported` for a kind that this version does not know; `.memory`.
    public static func read(
        _ text: String, source: String, blocks: Int = KeepMask.mostBlocks
    ) throws(PruneError) -> [Edit] {
        try MaskDocument.requireMemory(ofText: text.utf8.count, source)
        return try edits(JSONValue.parse(Array(text.utf8), source: source), source: source, blocks: blocks)
    }

    public static func write(_ edits: [Edit]) -> String {
        "[" + edits.map(\.json.text).joined(separator: ", ") + "]"
    }

    /// What a document has under "edits"; none if it does not have it. Errors: as above.
    static func edits(_ value: JSONValue?, source: String, blocks: Int) throws(PruneError) -> [Edit] {
        guard let value else { return [] }
        guard case .array(let values) = value else {
            throw PruneError(.format, "\(source): the edits are \(value.described), not an array of objects")
        }
        guard values.count <= most else {
            throw PruneError(.format, "\(source): there are \(values.count) edits; \(most) are the most there may be")
        }
        var edits: [Edit] = []
        for (number, value) in values.enumerated() {
            edits.append(try Edit(try EditObject(value, place: "\(source): edit \(number)"), blocks: blocks))
        }
        return edits
    }
}
