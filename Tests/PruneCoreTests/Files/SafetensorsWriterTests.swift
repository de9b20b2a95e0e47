// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

/// What is written reads back; digests are those of the standard.
@Suite struct SafetensorsWriterTests {
    func written(_ tensors: [SafetensorsWriter.Tensor], _ metadata: [String: String] = [:]) throws -> [UInt8] {
        var bytes: [UInt8] = []
        try SafetensorsWriter.write(
            tensors, metadata: metadata, append: { (piece) throws(PruneError) in bytes += piece })
        return bytes
    }

    func tensor(_ name: String, _ type: ElementType, _ shape: [Int], _ bytes: [UInt8]) -> SafetensorsWriter.Tensor {
        SafetensorsWriter.Tensor(name: name, elementType: type, shape: shape) { (append) throws(PruneError) in
            // In two pieces, as a tensor that is made while it is written.
            try SafetensorsWriter.write(Array(bytes.prefix(3)), append)
            try SafetensorsWriter.write(Array(bytes.dropFirst(3)), append)
        }
    }

    @Test func whatIsWrittenReadsBack() throws {
        let directory = try TemporaryDirectory()
        let name = "quote \" back \\ line \n é"
        let bytes = try written(
            [
                tensor("z", .float32, [2, 1], Array(0..<8)), tensor(name, .bfloat16, [3], Array(8..<14)),
                tensor("scalar", .float16, [], [1, 2]), tensor("none", .float32, [0, 5], []),
            ], ["format": "pt", "note": "a\u{1}b"])
        let file = try SafetensorsFile.open(try directory.write("file", bytes))
        #expect(file.tensors.mapValues(\.shape) == ["z": [2, 1], name: [3], "scalar": [], "none": [0, 5]])
        #expect(file.tensors["z"].map { Array($0.bytes) } == Array(0..<8))
        #expect(file.tensors[name].map { Array($0.bytes) } == Array(8..<14))
        #expect(file.tensors[name]?.elementType == .bfloat16 && file.tensors["scalar"]?.elementType == .float16)
        // Data begins at a multiple of 8.
        #expect(bytes.withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) } % 8 == 0)
        let nothing = try SafetensorsFile.open(try directory.write("nothing", try written([])))
        #expect(nothing.tensors.isEmpty)
    }

    @Test func tensorsThatDoNotFitTheirShapeAreRefused() throws {
        #expect(throws: PruneError.self) { try written([tensor("a", .float32, [2], Array(0..<7))]) }
        #expect(throws: PruneError.self) { try written([tensor("a", .float32, [1 << 40, 1 << 40], [])]) }
        #expect(throws: PruneError.self) { try written([tensor("a", .float32, [-1], [])]) }
        #expect(throws: PruneError.self) {
            try written([tensor("a", .float32, [0], []), tensor("a", .float32, [0], [])])
        }
    }

    /// FIPS 180-4's examples, and messages around the length of a block, in pieces of any size.
    @Test(arguments: [false, true]) func digestsAreThoseOfTheStandard(_ isAccelerated: Bool) {
        func digest(of bytes: UnsafeRawBufferPointer) -> String {
            var digest = SHA256(isAccelerated: isAccelerated)
            digest.update(bytes)
            return digest.hexadecimal
        }
        func digest(_ text: String) -> String { Array(text.utf8).withUnsafeBytes { digest(of: $0) } }
        #expect(digest("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
        #expect(digest("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        #expect(
            digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")
                == "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1")
        #expect(
            digest(String(repeating: "a", count: 1_000_000))
                == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0")
        var random = SeededGenerator(state: 3)
        for count in [1, 55, 56, 57, 63, 64, 65, 119, 120, 128, 1000] {
            let message = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
            let whole = message.withUnsafeBytes { digest(of: $0) }
            for piece in [1, 7, 64, 100] {
                var pieces = SHA256(isAccelerated: isAccelerated)
                for start in stride(from: 0, to: count, by: piece) {
                    Array(message[start..<min(count, start + piece)]).withUnsafeBytes { pieces.update($0) }
                }
                #expect(pieces.hexadecimal == whole)
            }
        }
    }
}
