// SPDX-License-Identifier: Apache-2.0
/// Reads the numbers and strings of a GGUF file one after the other: little-endian, at any address, never beyond the end.
struct GGUFCursor {
    let bytes: UnsafeRawBufferPointer
    let path: String
    private(set) var offset: Int

    init(_ bytes: UnsafeRawBufferPointer, at offset: Int, path: String) {
        self.bytes = bytes
        self.offset = offset
        self.path = path
    }

    var remaining: Int { bytes.count - offset }

    /// - Parameter what: what is read, for the error.
    /// Errors: `.format` if the file ends before.
    mutating func number<Number: FixedWidthInteger>(_ what: String) throws(PruneError) -> Number {
        let size = MemoryLayout<Number>.size
        guard remaining >= size else { throw cut(what) }
        defer { offset += size }
        return Number(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Number.self))
    }

    mutating func float(_ what: String) throws(PruneError) -> Float {
        Float(bitPattern: try number(what))
    }

    mutating func double(_ what: String) throws(PruneError) -> Double {
        Double(bitPattern: try number(what))
    }

    /// A count of 64 bits. Errors: `.format` if it is above `limit`.
    mutating func count(_ what: String, limit: Int) throws(PruneError) -> Int {
        let count: UInt64 = try number(what)
        guard count <= UInt64(limit) else {
            throw PruneError(
                .format,
                "\(path): \(what) is \(count), and there is room for \(limit) at most; the file is cut short or damaged"
            )
        }
        return Int(count)
    }

    /// Bytes of a name at most: the format's own limit.
    private static let longestName = 65_535

    /// A name: its length, then its bytes. What is not UTF-8 is replaced; no name that is looked for has it.
    mutating func name(_ what: String) throws(PruneError) -> String {
        let range = try stringBytes(what)
        guard range.count <= Self.longestName else {
            throw PruneError(
                .format, "\(path): \(what) has \(range.count) bytes; the format has \(Self.longestName) at most")
        }
        return String(decoding: UnsafeRawBufferPointer(rebasing: bytes[range]), as: UTF8.self)
    }

    /// Steps over a string, and says where its bytes are.
    @discardableResult
    mutating func stringBytes(_ what: String) throws(PruneError) -> Range<Int> {
        let length: UInt64 = try number(what)
        guard length <= UInt64(remaining) else { throw cut(what) }
        defer { offset += Int(length) }
        return offset..<offset + Int(length)
    }

    /// Steps over `count` values of `size` bytes. Errors: `.format` if the file ends before.
    mutating func skip(_ count: Int, of size: Int, _ what: String) throws(PruneError) {
        guard count <= remaining / size else { throw cut(what) }
        offset += count * size
    }

    private func cut(_ what: String) -> PruneError {
        PruneError(.format, "\(path): the file ends within \(what); it is cut short or damaged")
    }
}
