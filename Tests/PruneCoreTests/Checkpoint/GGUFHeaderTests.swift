// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

/// Files whose numbers do not fit: each is an error that names what is at fault.
@Suite struct GGUFHeaderTests {
    /// One matrix of 2 x 4 floats.
    private static func whole() -> GGUFBytes {
        var file = GGUFBytes()
        file.set("general.architecture", "llama")
        file.add("matrix", [4, 2], [1, 2, 3, 4, 5, 6, 7, 8])
        return file
    }

    private static func expectFault(_ file: GGUFBytes, _ text: String, _ kind: FailureKind = .format) {
        #expect { try file.header() } throws: { error in
            guard let error = error as? PruneError else { return false }
            return error.kind == kind && error.message.contains(text)
        }
    }

    @Test func tensorsLieWhereTheyAreSaidToBe() throws {
        let file = Self.whole()
        let entry = try #require(try file.header().entries.first)
        #expect(entry.shape == [2, 4])
        #expect(entry.range.count == 32 && entry.range.upperBound == file.bytes.count)
    }

    @Test func valuesOfEveryTypeAreSteppedOver() throws {
        var file = Self.whole()
        for (type, size) in [0: 1, 1: 1, 2: 2, 3: 2, 5: 4, 7: 1, 10: 8, 11: 8, 12: 8] {
            file.values.append(("k\(type)", GGUFBytes.number(UInt32(type)) + Array(repeating: 1, count: size)))
        }
        file.set("flags", [true, false])
        #expect(try file.header().metadata.count == 11)
    }

    @Test func numbersThatDoNotFitAreNamed() {
        var file = Self.whole()
        file.tensors[0].offset = 32
        Self.expectFault(file, "\"matrix\" takes 32 bytes")
        file.tensors[0].offset = 8
        Self.expectFault(file, "no multiple of 32")
        file.tensors[0].offset = UInt64.max - 31
        Self.expectFault(file, "\"matrix\"")
        file = Self.whole()
        file.tensors[0].sizes = [1 << 48, 1 << 48]
        Self.expectFault(file, "too large")
        file.tensors[0].sizes = [1 << 63]
        Self.expectFault(file, "a size of tensor \"matrix\"")
        file.tensors[0].sizes = [1, 1, 1, 1, 1]
        Self.expectFault(file, "5 dimensions")
        file.tensors[0].sizes = [4, 2]
        file.tensors[0].type = 8
        Self.expectFault(file, "blocks of 32")
    }

    @Test func tensorsDoNotOverlap() {
        var file = Self.whole()
        file.add("second", [8], Array(repeating: 0, count: 8))
        file.tensors[1].offset = 0
        Self.expectFault(file, "overlaps")
    }

    @Test func nothingComesTwice() {
        var file = Self.whole()
        file.set("general.architecture", "llama")
        Self.expectFault(file, "\"general.architecture\" comes twice")
        file = Self.whole()
        file.add("matrix", [1], [0])
        Self.expectFault(file, "tensor \"matrix\" comes twice")
    }

    @Test func whatTheFormatDoesNotHaveIsRefused() {
        var file = Self.whole()
        file.values.append(("k", GGUFBytes.number(UInt32(13))))
        Self.expectFault(file, "type 13")
        file = Self.whole()
        file.values.append(("k", GGUFBytes.number(UInt32(9)) + GGUFBytes.number(UInt32(9))))
        Self.expectFault(file, "array of arrays")
        file = Self.whole()
        file.set("general.alignment", UInt32(24))
        Self.expectFault(file, "power of two")
        file = Self.whole()
        file.version = 1
        Self.expectFault(file, "version 1", .unsupported)
    }

    @Test func tensorsOfOtherTypesAreNoFaultUntilTheyAreNeeded() throws {
        var file = Self.whole()
        file.tensors[0].type = 16
        #expect(try file.header().entries.first?.type == nil)
        #expect(try file.opened().unsupported == ["matrix": 16])
    }
}
