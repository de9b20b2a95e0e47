// SPDX-License-Identifier: Apache-2.0
/// What a GGUF file says of itself and of its tensors, checked against the file's size.
///
/// Layout (`docs/gguf.md` of ggml): "GGUF", the version, the counts of tensors and of metadata, the metadata, a description
/// of each tensor, and from the next multiple of the alignment on the data. Numbers are little-endian.
struct GGUFHeader {
    /// A tensor as described; its numbers are checked against each other and the file.
    struct Entry {
        let name: String
        /// The number of its type in ggml, and nil where the engine does not compute with it.
        let typeNumber: UInt32
        let type: ElementType?
        /// Rows first, as elsewhere; the file lists it the other way round.
        let shape: [Int]
        /// Bytes from the start of the file; empty where the type is not known.
        let range: Range<Int>
    }

    static let magic: [UInt8] = Array("GGUF".utf8)
    private static let versions: ClosedRange<UInt32> = 2...3
    private static let mostDimensions = 4
    private static let usualAlignment = 32
    private static let alignmentKey = "general.alignment"

    let metadata: [String: GGUFValue]
    let entries: [Entry]

    /// Reads the header of a file, of which nothing else is touched.
    ///
    /// Errors: `.format`, naming the file, the key or tensor, and the numbers that do not fit; `.unsupported` for another
    /// version of the format.
    static func parse(_ file: UnsafeRawBufferPointer, path: String) throws(PruneError) -> GGUFHeader {
        guard file.count >= 24, file.prefix(4).elementsEqual(magic) else {
            throw PruneError(.format, "\(path): this is no GGUF file: it does not begin with \"GGUF\"")
        }
        var cursor = GGUFCursor(file, at: 4, path: path)
        let version: UInt32 = try cursor.number("the version")
        guard versions.contains(version) else {
            let isSwapped = versions.contains(version.byteSwapped)
            throw PruneError(
                .unsupported,
                "\(path): "
                    + (isSwapped
                        ? "the file is big-endian; convert it: gguf-convert-endian \(path) little"
                        : "the file has version \(version) of GGUF; read are 2 and 3"))
        }
        // No tensor takes less than 24 bytes to describe, and no value less than 13.
        let tensorCount = try cursor.count("the number of tensors", limit: cursor.remaining / 24)
        let valueCount = try cursor.count("the number of metadata values", limit: cursor.remaining / 13)
        let metadata = try readMetadata(&cursor, valueCount)
        let raw = try readTensors(&cursor, tensorCount)
        let alignment = try readAlignment(metadata, path)
        let start = (cursor.offset + alignment - 1) / alignment * alignment
        return GGUFHeader(
            metadata: metadata,
            entries: try placed(raw, from: start, in: file.count, alignment: alignment, path: path))
    }

    private static func readMetadata(
        _ cursor: inout GGUFCursor, _ count: Int
    ) throws(PruneError) -> [String: GGUFValue] {
        var metadata: [String: GGUFValue] = [:]
        metadata.reserveCapacity(min(count, 1024))
        for number in 0..<count {
            let key = try cursor.name("the name of metadata value \(number)")
            let value = try cursor.value(key.quoted)
            guard metadata.updateValue(value, forKey: key) == nil else {
                throw PruneError(.format, "\(cursor.path): the key \(key.quoted) comes twice")
            }
        }
        return metadata
    }

    private static func readAlignment(_ metadata: [String: GGUFValue], _ path: String) throws(PruneError) -> Int {
        guard let value = metadata[alignmentKey] else { return usualAlignment }
        guard case .integer(let alignment) = value, alignment > 0, alignment <= 1 << 20,
            alignment & (alignment - 1) == 0
        else { throw PruneError(.format, "\(path): \(alignmentKey) must be a power of two") }
        return alignment
    }

    /// A tensor as written.
    private struct RawEntry {
        let name: String
        let typeNumber: UInt32
        let shape: [Int]
        let offset: UInt64
    }

    private static func readTensors(
        _ cursor: inout GGUFCursor, _ count: Int
    ) throws(PruneError) -> [RawEntry] {
        var entries: [RawEntry] = []
        var names: Set<String> = []
        for number in 0..<count {
            let name = try cursor.name("the name of tensor \(number)")
            let what = "tensor \(name.quoted)"
            let rank: UInt32 = try cursor.number(what)
            guard rank >= 1, rank <= mostDimensions else {
                throw PruneError(
                    .format, "\(cursor.path): \(what) has \(rank) dimensions; the format has 1 to \(mostDimensions)")
            }
            var sizes: [Int] = []
            for _ in 0..<rank { sizes.append(try cursor.count("a size of \(what)", limit: 1 << 48)) }
            let type: UInt32 = try cursor.number(what)
            let offset: UInt64 = try cursor.number(what)
            guard names.insert(name).inserted else {
                throw PruneError(.format, "\(cursor.path): \(what) comes twice")
            }
            entries.append(RawEntry(name: name, typeNumber: type, shape: sizes.reversed(), offset: offset))
        }
        return entries
    }

    /// The tensors with where they lie. Errors: `.format` if one is not in the file, or two overlap.
    private static func placed(
        _ raw: [RawEntry], from start: Int, in fileSize: Int, alignment: Int, path: String
    ) throws(PruneError) -> [Entry] {
        var entries: [Entry] = []
        entries.reserveCapacity(raw.count)
        for entry in raw {
            let what = "\(path): tensor \(entry.name.quoted)"
            guard entry.offset % UInt64(alignment) == 0 else {
                throw PruneError(.format, "\(what) begins at \(entry.offset), no multiple of \(alignment)")
            }
            let type = ElementType(ggml: entry.typeNumber)
            let size = try type.map { type throws(PruneError) in try byteCount(entry, type, what) } ?? 0
            guard let offset = Int(exactly: entry.offset), offset <= fileSize - min(start, fileSize),
                size <= fileSize - min(start, fileSize) - offset
            else {
                throw PruneError(
                    .format,
                    "\(what) takes \(size) bytes from \(entry.offset) of the data on, and the file ends before; it is cut short or damaged"
                )
            }
            entries.append(
                Entry(
                    name: entry.name, typeNumber: entry.typeNumber, type: type, shape: entry.shape,
                    range: min(start + offset, fileSize)..<min(start + offset, fileSize) + size))
        }
        var end = 0
        for entry in entries.sorted(by: { $0.range.lowerBound < $1.range.lowerBound }) where !entry.range.isEmpty {
            guard entry.range.lowerBound >= end else {
                throw PruneError(.format, "\(path): tensor \(entry.name.quoted) overlaps the one before it")
            }
            end = entry.range.upperBound
        }
        return entries
    }

    private static func byteCount(
        _ entry: RawEntry, _ type: ElementType, _ what: String
    ) throws(PruneError) -> Int {
        let columns = entry.shape.last ?? 0
        guard columns % type.blockElements == 0 else {
            throw PruneError(
                .format,
                "\(what) has rows of \(columns); \(type.rawValue) has blocks of \(type.blockElements)")
        }
        var elements = 1
        for size in entry.shape {
            let (product, overflow) = elements.multipliedReportingOverflow(by: size)
            guard !overflow, product < 1 << 56 else {
                throw PruneError(.format, "\(what) has shape \(entry.shape), which is too large")
            }
            elements = product
        }
        return type.bytes(of: elements)
    }
}
