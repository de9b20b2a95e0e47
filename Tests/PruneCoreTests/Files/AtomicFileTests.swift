// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

@testable import PruneCore

@Suite struct AtomicFileTests {
    let directory = try! TemporaryDirectory()

    @Test func anAtomicFileReplacesWhatWasThere() throws {
        let path = directory.file("state")
        try AtomicFile.write([1, 2, 3], to: path)
        try AtomicFile.write(Array(repeating: 7, count: 100_000), to: path)
        #expect(try MappedFile.read(path, limit: 1 << 20) == Array(repeating: 7, count: 100_000))
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path) == ["state"])
    }

    @Test func aFailedWriteLeavesTheOldFileAndNothingElse() throws {
        let path = directory.file("state")
        try AtomicFile.write([1, 2, 3], to: path)
        #expect(throws: PruneError.self) {
            try AtomicFile.write(to: path) { (append) throws(PruneError) in
                try append(UnsafeRawBufferPointer(start: nil, count: 0))
                throw PruneError(.cancelled, "stop")
            }
        }
        #expect(try MappedFile.read(path, limit: 10) == [1, 2, 3])
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path) == ["state"])
    }

    @Test func aLinkStaysAndItsFileIsReplaced() throws {
        let path = directory.file("state")
        let link = directory.file("link")
        try AtomicFile.write([1], to: path)
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: path)
        try AtomicFile.write([2], to: link)
        #expect(try MappedFile.read(path, limit: 10) == [2])
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: link) == path)
    }

    @Test(arguments: ["", "a\0b", "missing/state"])
    func anAtomicFileRefusesPathsThatCannotBe(_ name: String) {
        let path = name.hasPrefix("missing") ? directory.file(name) : name
        #expect { try AtomicFile.write([1], to: path) } throws: { ($0 as? PruneError)?.kind == .file }
    }

    @Test func anAtomicFileReplacesOnlyFiles() {
        for path in [directory.path, "/dev/null"] {
            #expect { try AtomicFile.write([1], to: path) } throws: { ($0 as? PruneError)?.kind == .file }
        }
    }
}
