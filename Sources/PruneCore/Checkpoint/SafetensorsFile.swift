// SPDX-License-Identifier: Apache-2.0
/// A safetensors file with its tensors by name.
struct SafetensorsFile {
    let path: String
    let tensors: [String: StoredTensor]
    /// Tensors of element types that the engine does not compute with: name to dtype.
    let unsupported: [String: String]

    /// Errors: `.file` if the file cannot be read; `.format` if it is damaged; `.memory` if it is to be read into memory and
    /// there is not enough.
    static func open(_ path: String, _ residence: FileResidence = .mapped) throws(PruneError) -> SafetensorsFile {
        let file = try MappedFile(path: path, residence)
        let tensors = try read(file)
        try file.checkUnchanged()
        return tensors
    }

    /// The tensors of a file that is open already. Errors: `.format` if it is damaged.
    static func read(_ file: MappedFile) throws(PruneError) -> SafetensorsFile {
        let header = try SafetensorsHeader.parse(file.bytes, path: file.path)
        var tensors: [String: StoredTensor] = [:]
        var unsupported: [String: String] = [:]
        for entry in header.entries {
            guard let type = ElementType(safetensors: entry.dtype) else {
                unsupported[entry.name] = entry.dtype
                continue
            }
            tensors[entry.name] = StoredTensor(
                name: entry.name, elementType: type, shape: entry.shape,
                bytes: UnsafeRawBufferPointer(rebasing: file.bytes[entry.range]), owner: file)
        }
        return SafetensorsFile(path: file.path, tensors: tensors, unsupported: unsupported)
    }
}
