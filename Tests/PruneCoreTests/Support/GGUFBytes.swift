// SPDX-License-Identifier: Apache-2.0
import Foundation

@testable import PruneCore

/// The bytes of a GGUF file, put together by hand: what is said of tensors need not be true.
struct GGUFBytes {
    struct Tensor {
        var name: String
        /// As the file lists them: columns first.
        var sizes: [UInt64]
        var type: UInt32 = 0
        var offset: UInt64
    }

    var version: UInt32 = 3
    /// Key, and value with its type before it.
    var values: [(key: String, value: [UInt8])] = []
    var tensors: [Tensor] = []
    var data: [UInt8] = []

    static func number<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
        withUnsafeBytes(of: number.littleEndian) { Array($0) }
    }

    static func text(_ text: String) -> [UInt8] { number(UInt64(text.utf8.count)) + Array(text.utf8) }

    mutating func set(_ key: String, _ value: UInt32) {
        values.append((key, Self.number(UInt32(4)) + Self.number(value)))
    }

    mutating func set(_ key: String, _ value: Float) {
        values.append((key, Self.number(UInt32(6)) + Self.number(value.bitPattern)))
    }

    mutating func set(_ key: String, _ value: String) {
        values.append((key, Self.number(UInt32(8)) + Self.text(value)))
    }

    mutating func set(_ key: String, _ flags: [Bool]) {
        values.append(
            (
                key,
                Self.number(UInt32(9)) + Self.number(UInt32(7)) + Self.number(UInt64(flags.count))
                    + flags.map { $0 ? 1 : 0 }
            ))
    }

    /// A tensor of floats at the end of the data.
    mutating func add(_ name: String, _ sizes: [UInt64], _ values: [Float]) {
        while data.count % 32 != 0 { data.append(0) }
        tensors.append(Tensor(name: name, sizes: sizes, offset: UInt64(data.count)))
        for value in values { data += Self.number(value.bitPattern) }
    }

    var bytes: [UInt8] {
        var bytes: [UInt8] = Array("GGUF".utf8) + Self.number(version)
        bytes += Self.number(UInt64(tensors.count)) + Self.number(UInt64(values.count))
        for (key, value) in values { bytes += Self.text(key) + value }
        for tensor in tensors {
            bytes += Self.text(tensor.name) + Self.number(UInt32(tensor.sizes.count))
            for size in tensor.sizes { bytes += Self.number(size) }
            bytes += Self.number(tensor.type) + Self.number(tensor.offset)
        }
        while bytes.count % 32 != 0 { bytes.append(0) }
        return bytes + data
    }

    /// What the header says. Errors: as `GGUFHeader.parse`.
    func header() throws -> GGUFHeader {
        let bytes = bytes
        return try bytes.withUnsafeBytes { try GGUFHeader.parse($0, path: "m.gguf") }
    }

    /// The same as a file, opened.
    func opened() throws -> GGUFFile {
        let path = NSTemporaryDirectory() + "prunecore-\(UUID().uuidString).gguf"
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        defer { try? FileManager.default.removeItem(atPath: path) }
        return try GGUFFile.open(path)
    }
}
