// SPDX-License-Identifier: Apache-2.0
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
        let files = try JSONText.decode(Content.self, from: json, source: path).files
        guard !files.isEmpty else { throw PruneError(.format, "\(path): weight_map is missing or empty") }
        // The least, so that of several faults the same one is reported every time.
        if let bad = files.filter({ !isPlainName($0.value) }).min(by: { $0.key < $1.key }) {
            throw PruneError(
                .format,
                "\(path): tensor \(bad.key.quoted) is mapped to \(bad.value.quoted), "
                    + "which is not a file name in this directory")
        }
        return ShardIndex(path: path, files: files)
    }

    /// The file as written.
    private struct Content: JSONContent {
        let files: [String: String]
        let commaCount: Int

        init(from decoder: any Decoder) throws {
            let members = try decoder.container(keyedBy: JSONKey.self)
            var files: [String: String] = [:]
            let keys = members.allKeys
            var commaCount = max(keys.count - 1, 0)
            for key in keys {
                if key.stringValue == "weight_map" {
                    files = try members.decode([String: String].self, forKey: key)
                    commaCount += max(files.count - 1, 0)
                } else {
                    commaCount += try members.decode(JSONValue.self, forKey: key).commaCount
                }
            }
            (self.files, self.commaCount) = (files, commaCount)
        }
    }

    /// A checkpoint must not reach outside its directory.
    private static func isPlainName(_ name: String) -> Bool {
        !name.isEmpty && name != "." && name != ".." && !name.utf8.contains { $0 == UInt8(ascii: "/") || $0 == 0 }
    }
}
