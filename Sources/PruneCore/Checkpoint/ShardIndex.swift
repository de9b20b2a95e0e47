/// `model.safetensors.index.json`: which file of the directory holds which tensor.
struct ShardIndex {
    /// Bytes of the file at most.
    static let sizeLimit = 100_000_000

    let path: String
    /// Tensor name to file name; file names are plain names in the directory.
    let files: [String: String]

    /// Errors: `.file`; `.format` if `weight_map` is missing or empty, or names a file outside the directory.
    static func read(_ path: String) throws(PruneError) -> ShardIndex {
        try parse(try MappedFile.read(path, limit: sizeLimit), path: path)
    }

    static func parse(_ json: [UInt8], path: String) throws(PruneError) -> ShardIndex {
        var reader = JSONReader(json, source: path)
        var files: [String: String] = [:]
        try reader.readObject { (key, reader) throws(PruneError) in
            guard key == "weight_map" else { return try reader.skipValue() }
            try reader.readObject { (tensor, reader) throws(PruneError) in
                let file = try reader.readString()
                guard isPlainName(file) else {
                    throw PruneError(
                        .format,
                        "\(path): tensor \(tensor.quoted) is mapped to \(file.quoted), "
                            + "which is not a file name in this directory")
                }
                files[tensor] = file
            }
        }
        try reader.finish()
        guard !files.isEmpty else { throw PruneError(.format, "\(path): weight_map is missing or empty") }
        return ShardIndex(path: path, files: files)
    }

    /// A checkpoint must not reach outside its directory.
    private static func isPlainName(_ name: String) -> Bool {
        !name.isEmpty && name != "." && name != ".." && !name.utf8.contains { $0 == UInt8(ascii: "/") || $0 == 0 }
    }
}
