// SPDX-License-Identifier: Apache-2.0
/// What a safetensors file says of its tensors, checked against the file's size.
///
/// Layout: 8 bytes little-endian length N, N bytes of JSON, then the data. Format and checks follow the reference
/// implementation, https://github.com/huggingface/safetensors (`SafeTensors::deserialize`, `Metadata::validate`): the
/// tensors cover the data exactly, without overlap and without holes.
struct SafetensorsHeader {
    /// Where a tensor lies and what it is.
    struct Entry {
        let name: String
        /// As written, such as "BF16".
        let dtype: String
        let shape: [Int]
        /// Bytes from the start of the file.
        let range: Range<Int>
    }

    /// JSON bytes at most; the limit of the reference implementation.
    static let lengthLimit = 100_000_000
    /// Dimensions of a tensor at most.
    static let rankLimit = 32

    /// In the order of their data.
    let entries: [Entry]

    /// Reads the header of a file.
    ///
    /// - Parameter file: the whole file; only the header is touched.
    /// - Parameter path: what error texts call it.
    /// Errors: `.format`, naming the file, the tensor and the numbers that do not fit.
    static func parse(_ file: UnsafeRawBufferPointer, path: String) throws(PruneError) -> SafetensorsHeader {
        guard file.count >= 8 else {
            throw PruneError(.format, "\(path): \(file.count) bytes are too few for a safetensors file")
        }
        let declared = UInt64(littleEndian: file.loadUnaligned(as: UInt64.self))
        guard declared > 0, declared <= lengthLimit, let length = Int(exactly: declared) else {
            throw PruneError(
                .format,
                "\(path): header length \(declared) is not in 1...\(lengthLimit); this is not a safetensors file")
        }
        guard length <= file.count - 8 else {
            throw PruneError(
                .format,
                "\(path): the header is said to have \(length) bytes, but only \(file.count - 8) follow; "
                    + "the file is cut short")
        }
        try Memory.require(length, for: "the header of \(path)", "free some memory")
        let text = [UInt8](UnsafeRawBufferPointer(rebasing: file[8..<8 + length]))
        var entries = try readEntries(text, path: path)
        entries.sort { ($0.begin, $0.end) < ($1.begin, $1.end) }
        try checkCover(entries, dataCount: file.count - 8 - length, path: path)
        return SafetensorsHeader(
            entries: entries.map { entry in
                Entry(
                    name: entry.name, dtype: entry.dtype, shape: entry.shape,
                    range: 8 + length + entry.begin..<8 + length + entry.end)
            })
    }
}

extension SafetensorsHeader {
    /// An entry as written: offsets count from the start of the data, and nothing is checked against the file yet.
    private struct RawEntry {
        let name: String
        let dtype: String
        let shape: [Int]
        let begin: Int
        let end: Int
    }

    private static func readEntries(_ text: [UInt8], path: String) throws(PruneError) -> [RawEntry] {
        let content = try SafetensorsContent.parse(text, source: "\(path): header")
        var entries: [RawEntry] = []
        entries.reserveCapacity(content.entries.count)
        for entry in content.entries { entries.append(try readEntry(entry, path: path)) }
        return entries
    }

    private static func readEntry(_ entry: SafetensorsContent.Entry, path: String) throws(PruneError) -> RawEntry {
        let name = entry.name
        guard let dtype = entry.dtype, let shape = entry.shape, let offsets = entry.offsets else {
            throw PruneError(
                .format, "\(path): tensor \(name.quoted) needs dtype, shape and data_offsets; one is missing")
        }
        let sizes = try readCounts(name, "shape", shape, atMost: rankLimit, path: path)
        let ends = try readCounts(name, "data_offsets", offsets, atMost: 2, path: path)
        guard ends.count == 2, let begin = ends.first, let end = ends.last, begin <= end else {
            throw PruneError(
                .format,
                "\(path): tensor \(name.quoted) has data_offsets \(ends); "
                    + "they must be [begin, end] with begin <= end")
        }
        if let wanted = try byteCount(name, dtype, sizes, path: path), wanted != end - begin {
            throw PruneError(
                .format,
                "\(path): tensor \(name.quoted) of \(dtype) and shape \(sizes) takes \(wanted) bytes, "
                    + "but data_offsets \(ends) hold \(end - begin)")
        }
        return RawEntry(name: name, dtype: dtype, shape: sizes, begin: begin, end: end)
    }

    private static func readCounts(
        _ name: String, _ key: String, _ numbers: [JSONValue], atMost limit: Int, path: String
    ) throws(PruneError) -> [Int] {
        guard numbers.count <= limit else {
            throw PruneError(.format, "\(path): \(key) of tensor \(name.quoted) has more than \(limit) entries")
        }
        return try numbers.map { number throws(PruneError) in
            guard case .integer(let count) = number, count >= 0 else {
                throw PruneError(
                    .format, "\(path): \(key) of tensor \(name.quoted) must be an array of integers of at least 0")
            }
            return count
        }
    }

    /// Bytes that a tensor takes; nil for a dtype whose size is not known.
    private static func byteCount(
        _ name: String, _ dtype: String, _ shape: [Int], path: String
    ) throws(PruneError) -> Int? {
        guard let bits = bitCounts[dtype] else { return nil }
        var total = bits
        for size in shape {
            let (product, overflow) = total.multipliedReportingOverflow(by: size)
            guard !overflow else {
                throw PruneError(.format, "\(path): tensor \(name.quoted) has shape \(shape), which is too large")
            }
            total = product
        }
        guard total % 8 == 0 else {
            throw PruneError(
                .format, "\(path): tensor \(name.quoted) of \(dtype) and shape \(shape) does not fill whole bytes")
        }
        return total / 8
    }

    /// Bits of one element, for every dtype of the format: those that the engine cannot compute with may still stand in
    /// a file.
    private static let bitCounts: [String: Int] = [
        "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
        "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
        "F16": 16, "BF16": 16, "I16": 16, "U16": 16,
        "F32": 32, "I32": 32, "U32": 32,
        "F64": 64, "I64": 64, "U64": 64, "C64": 64,
    ]

    /// Checks that the entries, sorted, follow each other from the first byte of the data to the last.
    private static func checkCover(_ entries: [RawEntry], dataCount: Int, path: String) throws(PruneError) {
        var covered = 0
        var previous = "the header"
        for entry in entries {
            guard entry.end <= dataCount else {
                throw PruneError(
                    .format,
                    "\(path): tensor \(entry.name.quoted) ends at byte \(entry.end) of the data, "
                        + "which has only \(dataCount); the file is cut short or damaged")
            }
            guard entry.begin == covered else {
                let fault = entry.begin < covered ? "overlaps" : "leaves a hole after"
                throw PruneError(
                    .format,
                    "\(path): tensor \(entry.name.quoted) at bytes \(entry.begin)...\(entry.end) \(fault) "
                        + "\(previous), which ends at \(covered)")
            }
            covered = entry.end
            previous = entry.name.quoted
        }
        guard covered == dataCount else {
            throw PruneError(
                .format,
                "\(path): the tensors take \(covered) bytes, but the file holds \(dataCount) bytes of data")
        }
    }
}
