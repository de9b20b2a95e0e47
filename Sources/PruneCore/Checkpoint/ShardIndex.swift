// SPDX-License-Identifier: Apache-2.0
/// `model.safetensors.index.json`: which file of the directory holds which tensor.
struct ShardIndex {
    /// Bytes of the file at most.
    static let sizeLimit = 100_000_000

    let path: String
    /// Tensor name to file name; file names are paths inside the directory.
    let files: [String: String]

    /// Errors: `.file`; `.format` if `weight_map` is missing or empty, or names a file outside the directory.
    static func read(_ path: String) throws(PruneError) -> ShardIndex {
        try parse(try MappedFile.read(path, limit: sizeLimit), path: path)
    }

    static func parse(_ json: [UInt8], path: String) throws(PruneError) -> ShardIndex {
        let files = try weightMap(json, path: path)
        guard !files.isEmpty else { throw PruneError(.format, "\(path): weight_map is missing or empty") }
        // The least, so that of several faults the same one is reported every time.
        if let bad = files.filter({ !staysInside($0.value) }).min(by: { $0.key < $1.key }) {
            throw PruneError(
                .format,
                "\(path): tensor \(bad.key.quoted) is mapped to \(bad.value.quoted), "
                    + "which is not the name of a file in this directory")
        }
        return ShardIndex(path: path, files: files)
    }

    /// The member "weight_map"; empty if it is missing. Errors: `.format` if it maps to anything but strings.
    private static func weightMap(_ json: [UInt8], path: String) throws(PruneError) -> [String: String] {
        guard case .object(let members) = try JSONValue.parse(json, source: path, nonFinite: .read) else {
            throw PruneError(.format, "\(path): the JSON must be an object")
        }
        guard let map = members["weight_map"] else { return [:] }
        guard case .object(let entries) = map else {
            throw PruneError(.format, "\(path): weight_map is \(map.described); it must be an object")
        }
        return try entries.strings { (key, value) in
            PruneError(.format, "\(path): tensor \(key.quoted) is mapped to \(value.described), which is not a string")
        }
    }

    /// A checkpoint must not reach outside its directory; its files may be in folders there.
    private static func staysInside(_ name: String) -> Bool {
        !name.utf8.contains(0)
            && name.split(separator: "/", omittingEmptySubsequences: false).allSatisfy {
                !$0.isEmpty && $0 != "." && $0 != ".."
            }
    }
}
