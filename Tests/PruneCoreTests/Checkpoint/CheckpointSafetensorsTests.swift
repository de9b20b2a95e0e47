// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

@Suite struct CheckpointSafetensorsTests {
    func header(_ file: [UInt8]) throws -> SafetensorsHeader {
        try file.withUnsafeBytes { try SafetensorsHeader.parse($0, path: "x.safetensors") }
    }

    func header(_ text: String, data: Int) throws -> SafetensorsHeader {
        try header(safetensors(header: text, data: Array(repeating: 7, count: data)))
    }

    @Test func readsTensorsOfEveryTypeItComputesWith() throws {
        let directory = try TemporaryDirectory()
        let path = try directory.write(
            "x.safetensors",
            safetensors([
                // An odd count of bytes first, so that what follows is not aligned.
                Sample(name: "mask", dtype: "BOOL", shape: [3], bytes: [1, 0, 1]),
                Sample(name: "a", dtype: "F32", shape: [1, 2], bytes: [0, 0, 0x80, 0x3F, 0, 0, 0, 0xC0]),
                Sample(name: "b", dtype: "F16", shape: [2], bytes: [0, 0x3C, 0, 0xC0]),
                Sample(name: "c", dtype: "BF16", shape: [2, 1, 1], bytes: [0x80, 0x3F, 0, 0xC0]),
                Sample(name: "scalar", dtype: "F32", shape: [], bytes: [0, 0, 0, 0x40]),
                Sample(name: "none", dtype: "F32", shape: [4, 0], bytes: []),
                Sample(name: "ids", dtype: "I64", shape: [1], bytes: [1, 2, 3, 4, 5, 6, 7, 8]),
                Sample(name: "later", dtype: "F128_X", shape: [9], bytes: [1, 2]),
            ]))
        let file = try SafetensorsFile.open(path)
        let table = TensorTable(source: "dir", tensors: file.tensors, unsupported: file.unsupported)

        let a = try table.tensor("a", shape: [1, 2])
        #expect(a.elementType == .float32 && a.elementCount == 2 && a.bytes.count == 8)
        #expect(a.bytes.loadUnaligned(fromByteOffset: 0, as: Float.self) == 1)
        #expect(a.bytes.loadUnaligned(fromByteOffset: 4, as: Float.self) == -2)
        let b = try table.tensor("b", shape: [2])
        #expect(b.elementType == .float16 && b.elementCount == 2)
        #expect(b.bytes.loadUnaligned(fromByteOffset: 2, as: UInt16.self) == 0xC000)
        let c = try table.tensor("c", shape: [2, 1, 1])
        #expect(c.elementType == .bfloat16 && c.elementCount == 2)
        #expect(c.bytes.loadUnaligned(fromByteOffset: 0, as: UInt16.self) == 0x3F80)
        #expect(try table.tensor("scalar", shape: []).elementCount == 1)
        #expect(try table.tensor("none", shape: [4, 0]).elementCount == 0)

        #expect(table.contains("a") && table.contains("ids") && !table.contains("d"))
        expectFault(.format, naming: "dir", "\"d\"", "missing", "[5, 6]") { _ = try table.tensor("d", shape: [5, 6]) }
        expectFault(.format, naming: "dir", "\"a\"", "[1, 2]", "[2, 1]") { _ = try table.tensor("a", shape: [2, 1]) }
        expectFault(.unsupported, naming: "dir", "\"ids\"", "I64") { _ = try table.tensor("ids", shape: [1]) }
        expectFault(.unsupported, naming: "\"later\"", "F128_X") { _ = try table.tensor("later", shape: [9]) }
    }

    @Test func tensorsOutliveTheirTable() throws {
        let directory = try TemporaryDirectory()
        let path = try directory.write(
            "x.safetensors", safetensors([Sample(name: "a", dtype: "BF16", shape: [1], bytes: [0x12, 0x34])]))
        let tensor = try SafetensorsFile.open(path).tensors["a"]
        #expect(tensor.map { Array($0.bytes) } == [0x12, 0x34])
    }

    @Test func ignoresWhatTheFormatLeavesOpen() throws {
        let text = #" {"a":{"shape":[2],"extra":{"x":[1]},"data_offsets":[0,4],"dtype":"F16"}}"#
        #expect(try header(text, data: 4).entries.map(\.name) == ["a"])
        let written = #"{"a":{"dtype":"F16","shape":[2.0],"data_offsets":[0,4e0]}}"#
        #expect(try header(written, data: 4).entries.map(\.shape) == [[2]])
        #expect(try header("{}", data: 0).entries.isEmpty)
        #expect(try header(#"{"__metadata__":{}}"#, data: 0).entries.isEmpty)
    }

    @Test func takesTensorsOutOfOrderAndEmptyOnes() throws {
        let text = """
            {"b":{"dtype":"F16","shape":[2],"data_offsets":[4,8]},"z":{"dtype":"F16","shape":[0],"data_offsets":[4,4]},
             "a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}
            """
        let found = try header(text, data: 8)
        #expect(found.entries.map(\.name) == ["a", "z", "b"])
        #expect(found.entries.map { $0.range.count } == [4, 0, 4])
    }

    @Test func refusesBadLengths() {
        for count in 0..<8 {
            expectFault(.format, naming: "x.safetensors", "\(count) bytes") {
                _ = try header(Array(repeating: 1, count: count))
            }
        }
        for (length, words) in [(UInt64(0), "0"), (100_000_001, "100000001"), (.max, "18446744073709551615")] {
            let file = withUnsafeBytes(of: length.littleEndian) { Array($0) } + Array("{}".utf8)
            expectFault(.format, naming: "x.safetensors", words) { _ = try header(file) }
        }
        expectFault(.format, naming: "3 bytes", "2 follow") {
            _ = try header([3, 0, 0, 0, 0, 0, 0, 0] + Array("{}".utf8))
        }
    }

    @Test(arguments: [
        (#"[]"#, "an object"),
        (#"{"a":1}"#, "an object"),
        (#"{"a":{}}"#, "missing"),
        (#"{"a":{"dtype":"F16","shape":[2]}}"#, "missing"),
        (#"{"a":{"dtype":1,"shape":[2],"data_offsets":[0,4]}}"#, "a string"),
        (#"{"a":{"dtype":"F16","shape":2,"data_offsets":[0,4]}}"#, "an array"),
        (#"{"a":{"dtype":"F16","shape":[-2],"data_offsets":[0,4]}}"#, "at least 0"),
        (#"{"a":{"dtype":"F16","shape":[2.5],"data_offsets":[0,4]}}"#, "integer"),
        (#"{"a":{"dtype":"F16","shape":["2"],"data_offsets":[0,4]}}"#, "integer"),
        (#"{"a":{"dtype":"F16","shape":[true],"data_offsets":[0,4]}}"#, "integer"),
        (#"{"a":{"dtype":"F16","shape":[null],"data_offsets":[0,4]}}"#, "integer"),
        (#"{"a":{"dtype":"F16","shape":[1,1e999],"data_offsets":[0,4]}}"#, "out of range"),
        (#"{"a":{"dtype":null,"shape":[2],"data_offsets":[0,4]}}"#, "\"a.dtype\" must be a string"),
        (#"{"a":{"dtype":"F16","shape":[9223372036854775808],"data_offsets":[0,4]}}"#, "integer"),
        (#"{"a":{"dtype":"F16","shape":[2],"data_offsets":[0]}}"#, "[begin, end]"),
        (#"{"a":{"dtype":"F16","shape":[2],"data_offsets":[]}}"#, "[begin, end]"),
        (#"{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,2,4]}}"#, "more than 2"),
        (#"{"a":{"dtype":"F16","shape":[2],"data_offsets":[4,0]}}"#, "begin <= end"),
        (#"{"a":{"dtype":"F16","shape":[3],"data_offsets":[0,4]}}"#, "takes 6 bytes"),
        (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#, "takes 8 bytes"),
        (#"{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,4]}}"#, "whole bytes"),
        (#"{"a":{"dtype":"F16","shape":[4294967296,4294967296],"data_offsets":[0,4]}}"#, "too large"),
        (#"{"a":{"dtype":"F64","shape":[1152921504606846976],"data_offsets":[0,4]}}"#, "too large"),
        (#"{"a":{"dtype":"F16","shape":[4],"data_offsets":[0,8]}}"#, "ends at byte 8"),
        (#"{"a":{"dtype":"?","shape":[],"data_offsets":[0,9223372036854775807]}}"#, "ends at byte 9223372036854775807"),
        (#"{"a":{"dtype":"F16","shape":[1],"data_offsets":[2,4]}}"#, "hole"),
        (#"{"a":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}}"#, "take 2 bytes"),
        (#"{}"#, "take 0 bytes"),
        (
            #"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"#
                + #""b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}"#,
            "\"b\" at bytes 2...4 overlaps \"a\""
        ),
        (
            #"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"#
                + #""b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}"#,
            "\"b\" at bytes 2...4 leaves a hole after \"a\""
        ),
        (
            #"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"#
                + #""a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#,
            "twice"
        ),
        (#"{"a":{"dtype":"F16","shape":[2],"shape":[2],"data_offsets":[0,4]}}"#, "twice"),
        (#"{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4],"extra":{"x":1,"x":1}}}"#, "twice"),
        (#"{"__metadata__":{"x":"1","x":"1"},"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}"#, "twice"),
        (#"{"__metadata__":{"x":1}}"#, "a string"),
        (#"{"__metadata__":"x"}"#, "an object"),
        (#"{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},}"#, "comma"),
        (#"{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}x"#, "bad JSON"),
        (#"{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}"#, "bad JSON"),
    ])
    func refusesBadHeaders(_ text: String, _ words: String) {
        expectFault(.format, naming: "x.safetensors", words) { _ = try header(text, data: 4) }
    }

    @Test func refusesShapesOfManyDimensions() {
        let shape = Array(repeating: "1", count: SafetensorsHeader.rankLimit + 1).joined(separator: ",")
        expectFault(.format, naming: "more than 32") {
            _ = try header(#"{"a":{"dtype":"F32","shape":[\#(shape)],"data_offsets":[0,4]}}"#, data: 4)
        }
    }

    @Test func zeroTimesHugeIsEmpty() throws {
        let text = #"{"a":{"dtype":"F32","shape":[0,4611686018427387904,4],"data_offsets":[0,0]}}"#
        #expect(try header(text, data: 0).entries.first?.range.isEmpty == true)
    }
}
