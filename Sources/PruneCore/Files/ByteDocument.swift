// SPDX-License-Identifier: Apache-2.0
/// Numbers as bytes, one after the other: little-endian, the same on every machine.
struct ByteWriter {
    private(set) var bytes: [UInt8]

    /// - Parameter mark: what the bytes begin with, by which they are known.
    init(mark: String, version: UInt32) {
        bytes = Array(mark.utf8)
        add(version)
    }

    mutating func add<Value: FixedWidthInteger>(_ value: Value) {
        withUnsafeBytes(of: value.littleEndian) { bytes += $0 }
    }

    mutating func add(_ value: Double) { add(value.bitPattern) }

    /// The count is the reader's to know.
    mutating func add(_ values: [Float]) {
        bytes.reserveCapacity(bytes.count + 4 * values.count)
        for value in values { add(value.bitPattern) }
    }

    /// Ends the bytes with their checksum.
    mutating func seal() { add(ByteChecksum(bytes[...]).value) }
}

/// Reads what a `ByteWriter` wrote, and trusts none of it.
struct ByteReader {
    private let bytes: ArraySlice<UInt8>
    private var position: Int
    /// "saved game": what errors call the bytes.
    private let name: String

    /// Checks mark, checksum and version.
    ///
    /// Errors: `.format` if the bytes are damaged or something else; `.unsupported` for another version.
    init(_ bytes: [UInt8], mark: String, version: UInt32, name: String) throws(PruneError) {
        guard bytes.starts(with: mark.utf8) else { throw PruneError(.format, "these bytes are not a \(name)") }
        self.bytes = bytes.dropLast(8)
        self.name = name
        position = mark.utf8.count
        let found: UInt32 = try next()
        var end = ByteReader(bytes[...], position: max(position, bytes.count - 8), name: name)
        let sum: UInt64 = try end.next()
        guard sum == ByteChecksum(self.bytes).value else { throw damaged("the checksum does not fit") }
        guard found == version else {
            throw PruneError(
                .unsupported, "the \(name) has version \(found), this library reads \(version); use a newer one")
        }
    }

    private init(_ bytes: ArraySlice<UInt8>, position: Int, name: String) {
        self.bytes = bytes
        self.position = position
        self.name = name
    }

    var isAtEnd: Bool { position == bytes.endIndex }
    /// Bytes that are left.
    var rest: Int { bytes.endIndex - position }

    func damaged(_ what: String) -> PruneError { PruneError(.format, "the \(name) is damaged: \(what)") }

    mutating func next<Value: FixedWidthInteger>() throws(PruneError) -> Value {
        let size = MemoryLayout<Value>.size
        guard rest >= size else { throw damaged("it ends too early") }
        var value: Value = 0
        for index in (0..<size).reversed() {
            value = (size == 1 ? 0 : value << 8) | Value(truncatingIfNeeded: bytes[position + index])
        }
        position += size
        return value
    }

    mutating func double() throws(PruneError) -> Double { Double(bitPattern: try next()) }

    /// `count` is at most what `count()` gives.
    mutating func floats(_ count: Int) throws(PruneError) -> [Float] {
        guard count <= rest / 4 else { throw damaged("it ends too early") }
        var values: [Float] = []
        values.reserveCapacity(count)
        for _ in 0..<count { values.append(Float(bitPattern: try next())) }
        return values
    }

    /// A number that fits an Int and could be a count.
    mutating func count() throws(PruneError) -> Int {
        let value: UInt64 = try next()
        guard value <= 1 << 48 else { throw damaged("a count is \(value)") }
        return Int(value)
    }
}

/// Bounds that may be missing, which are written as 0.
extension ByteWriter {
    mutating func add(bound: Int?) { add(UInt64(bound ?? 0)) }
    mutating func add(bound: Double?) { add(bound ?? 0) }
}

extension ByteReader {
    mutating func bound() throws(PruneError) -> Int? {
        let value: Int64 = try next()
        guard value >= 0 else { throw damaged("a bound is \(value)") }
        return value == 0 ? nil : Int(value)
    }

    mutating func doubleBound() throws(PruneError) -> Double? {
        let value = try double()
        return value == 0 ? nil : value
    }
}

/// FNV-1a with 64 bits: each step is a bijection of the state, so no single damaged byte goes unnoticed.
struct ByteChecksum {
    private(set) var value: UInt64 = 0xCBF2_9CE4_8422_2325

    init() {}

    init(_ bytes: ArraySlice<UInt8>) { add(bytes) }

    mutating func add(_ bytes: ArraySlice<UInt8>) {
        for byte in bytes { value = (value ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 }
    }
}
