// SPDX-License-Identifier: Apache-2.0
/// The metadata of a GGUF file, with lookups that name file and key when something is wrong.
struct GGUFMetadata: @unchecked Sendable {
    private let values: [String: GGUFValue]
    /// Keeps the bytes of arrays. Sendable because they are only read.
    private let file: MappedFile

    init(_ values: [String: GGUFValue], _ file: MappedFile) {
        self.values = values
        self.file = file
    }

    var path: String { file.path }

    func contains(_ key: String) -> Bool { values[key] != nil }

    func fault(_ kind: FailureKind, _ key: String, _ what: String) -> PruneError {
        PruneError(kind, "\(path): \(key) \(what)")
    }

    private func wrongType(_ key: String, _ wanted: String) -> PruneError {
        fault(.format, key, "is of another type; it must be \(wanted)")
    }

    func missing(_ key: String) -> PruneError { fault(.format, key, "is missing") }

    /// A word. Errors: `.format` if it is of another type, or as long as no word is.
    func optionalString(_ key: String) throws(PruneError) -> String? {
        guard let value = values[key] else { return nil }
        guard case .string(let range) = value, range.count <= Self.longestWord else {
            throw wrongType(key, "a string of \(Self.longestWord) bytes at most")
        }
        return String(decoding: UnsafeRawBufferPointer(rebasing: file.bytes[range]), as: UTF8.self)
    }

    private static let longestWord = 256

    func optionalBool(_ key: String) throws(PruneError) -> Bool? {
        switch values[key] {
        case nil: nil
        case .bool(let value): value
        default: throw wrongType(key, "true or false")
        }
    }

    /// A finite number, whole or not.
    func optionalNumber(_ key: String) throws(PruneError) -> Double? {
        switch values[key] {
        case nil: return nil
        case .integer(let value): return Double(value)
        case .number(let value) where value.isFinite: return value
        default: throw wrongType(key, "a finite number")
        }
    }

    func optionalCount(_ key: String, from least: Int = 1, limit: Int) throws(PruneError) -> Int? {
        guard let value = values[key] else { return nil }
        guard case .integer(let count) = value else { throw wrongType(key, "a whole number") }
        return try checked(key, count, from: least, limit: limit)
    }

    func count(_ key: String, limit: Int) throws(PruneError) -> Int {
        guard let count = try optionalCount(key, limit: limit) else { throw missing(key) }
        return count
    }

    private func checked(
        _ key: String, _ count: Int, from least: Int, limit: Int
    ) throws(PruneError) -> Int {
        guard count >= least, count <= limit else {
            throw fault(.format, key, "is \(count); it must be in \(least)...\(limit)")
        }
        return count
    }

    /// A whole number, or one for each of `entries` layers: what every layer has. nil if the key is missing.
    func optionalCounts(_ key: String, entries: Int, limit: Int) throws(PruneError) -> [Int]? {
        guard case .array(let array)? = values[key] else {
            return try optionalCount(key, from: 0, limit: limit).map { Array(repeating: $0, count: entries) }
        }
        guard array.count == entries else {
            throw fault(.format, key, "has \(array.count) entries; the model has \(entries) layers")
        }
        return try elements(key, array).map { value throws(PruneError) in
            guard case .integer(let count) = value else { throw wrongType(key, "an array of whole numbers") }
            return try checked(key, count, from: 0, limit: limit)
        }
    }

    /// An array of truth values, which may be written as numbers. nil if the key is missing or no array.
    func optionalFlags(_ key: String, entries: Int) throws(PruneError) -> [Bool]? {
        guard case .array(let array)? = values[key] else { return nil }
        guard array.count >= entries else {
            throw fault(.format, key, "has \(array.count) entries; the model has \(entries) layers")
        }
        return try elements(key, array).prefix(entries).map { value throws(PruneError) in
            switch value {
            case .bool(let flag): return flag
            case .integer(let number): return number != 0
            default: throw wrongType(key, "an array of true and false")
            }
        }
    }

    /// The entries of an array that was stepped over when the file was opened.
    private func elements(_ key: String, _ array: GGUFArray) throws(PruneError) -> [GGUFValue] {
        var cursor = GGUFCursor(file.bytes, at: array.offset, path: path)
        var elements: [GGUFValue] = []
        for _ in 0..<array.count { elements.append(try cursor.value(array.kind, key)) }
        return elements
    }
}
