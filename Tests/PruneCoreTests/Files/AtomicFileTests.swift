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

    @Test func whatKilledWritersLeftGoesWithTheNextWrite() throws {
        let path = directory.file("state")
        for name in [
            "state.1a2b.partial", "state.00000000.partial", "state.xyz.partial", "other.1a2b.partial", "state.partial",
        ] {
            try AtomicFile.write([1], to: directory.file(name))
        }
        try FileManager.default.createDirectory(
            atPath: directory.file("state.2.partial"), withIntermediateDirectories: false)
        try FileManager.default.createSymbolicLink(
            atPath: directory.file("state.3.partial"), withDestinationPath: directory.file("other.1a2b.partial"))
        try AtomicFile.write([1, 2], to: path)
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: directory.path).sorted() == [
                "other.1a2b.partial", "state", "state.2.partial", "state.3.partial", "state.partial",
                "state.xyz.partial",
            ])
    }

    @Test(arguments: [String(repeating: "n", count: 255), String(repeating: "é", count: 127)])
    func namesMayBeAsLongAsTheSystemAllows(_ name: String) throws {
        try AtomicFile.write([1], to: directory.file(name))
        #expect(Folder.names(in: directory.path) == [name])
    }

    @Test func whatIsBeingWrittenStays() throws {
        let path = directory.file("state")
        try AtomicFile.write(to: path) { (append) throws(PruneError) in
            // Another writer of the same place comes and goes meanwhile.
            try AtomicFile.write([1], to: path)
            let partial = Folder.names(in: directory.path).filter { $0.hasSuffix(".partial") }
            #expect(partial.count == 1)
            try SafetensorsWriter.write([2, 3] as [UInt8], append)
        }
        #expect(try MappedFile.read(path, limit: 10) == [2, 3])
        #expect(Folder.names(in: directory.path) == ["state"])
    }
}
