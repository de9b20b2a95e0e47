// SPDX-License-Identifier: Apache-2.0
/// A GGUF model, mapped: the metadata of its file, and the tensors of this and of all others that it is split into.
struct GGUFFile {
    let path: String
    let metadata: GGUFMetadata
    let tensors: [String: StoredTensor]
    /// Tensors of types that the engine does not compute with: name to the type's number.
    let unsupported: [String: UInt32]

    /// Whether a path is taken for a GGUF file: by its name, or by its first bytes.
    static func isOne(_ path: String) -> Bool {
        if path.hasSuffix(".gguf") { return true }
        guard let file = try? OpenFile(path), file.stamp.size >= 24 else { return false }
        return withUnsafeTemporaryAllocation(byteCount: 4, alignment: 1) { room in
            (try? file.read(0, into: room)) != nil && room.elementsEqual(GGUFHeader.magic)
        }
    }

    /// Errors: `.file` if a file cannot be read; `.format` if it is damaged, or is not the first of several; `.unsupported`;
    /// `.memory` if files are to be read into memory and there is not enough.
    static func open(_ path: String, _ residence: FileResidence = .mapped) throws(PruneError) -> GGUFFile {
        let first = try part(path, residence)
        let splits = try GGUFSplits(first.metadata, path)
        var (tensors, unsupported) = (first.tensors, first.unsupported)
        for (number, other) in splits.others {
            let part = try part(other, residence)
            try splits.check(part.metadata, number, other)
            for (name, tensor) in part.tensors {
                guard tensors.updateValue(tensor, forKey: name) == nil else {
                    throw PruneError(.format, "\(other): tensor \(name.quoted) is in an earlier part, too")
                }
            }
            unsupported.merge(part.unsupported) { own, _ in own }
        }
        try splits.check(tensorCount: tensors.count + unsupported.count, path)
        return GGUFFile(path: path, metadata: first.metadata, tensors: tensors, unsupported: unsupported)
    }

    private static func part(_ path: String, _ residence: FileResidence) throws(PruneError) -> GGUFFile {
        let file = try MappedFile(path: path, residence)
        let part = try read(file)
        try file.checkUnchanged()
        return part
    }

    /// One file that is open already. Errors: `.format` if it is damaged; `.unsupported` for another version.
    static func read(_ file: MappedFile) throws(PruneError) -> GGUFFile {
        let header = try GGUFHeader.parse(file.bytes, path: file.path)
        var tensors: [String: StoredTensor] = [:]
        var unsupported: [String: UInt32] = [:]
        for entry in header.entries {
            guard let type = entry.type else {
                unsupported[entry.name] = entry.typeNumber
                continue
            }
            tensors[entry.name] = StoredTensor(
                name: entry.name, elementType: type, shape: entry.shape,
                bytes: UnsafeRawBufferPointer(rebasing: file.bytes[entry.range]), owner: file)
        }
        return GGUFFile(
            path: file.path, metadata: GGUFMetadata(header.metadata, file), tensors: tensors, unsupported: unsupported)
    }
}
