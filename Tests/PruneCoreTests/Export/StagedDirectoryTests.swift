// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

@testable import PruneCore

@Suite struct StagedDirectoryTests {
    let home = try! TemporaryDirectory()

    private func entries(_ directory: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: directory).sorted()
    }

    @Test func aStagedDirectoryAppearsWholeAndAtOnce() throws {
        let place = home.file("out")
        let staged = try StagedDirectory(place)
        try staged.write("a", [1, 2, 3])
        try staged.write("inner/b", [])
        #expect(!MappedFile.exists(place))
        try staged.finish(replacing: false)
        #expect(try entries(place) == ["a", "inner"])
        #expect(try entries(place + "/inner") == ["b"])
        #expect(try entries(home.path) == ["out"])
        #expect(staged.files.map(\.name) == ["a", "inner/b"])
        #expect(
            staged.files[0].checksum
                == [1, 2, 3].withUnsafeBytes { _ in
                    "039058c6f2c0cb492c533b0a4d14ef77cc0f78abccced5287d84a1a2011cfb81"
                })
    }

    @Test func aStagedDirectoryThatIsNotFinishedIsRemoved() throws {
        do {
            let staged = try StagedDirectory(home.file("out"))
            try staged.write("a", [1])
            try staged.write("inner/b", [2])
            #expect(try entries(home.path).count == 1)
        }
        #expect(try entries(home.path) == [])
    }

    @Test func aStagedDirectoryReplacesAnotherIfAsked() throws {
        let place = home.file("out")
        for round: UInt8 in [1, 2] {
            let staged = try StagedDirectory(place)
            try staged.write("a", [round])
            try staged.finish(replacing: round == 2)
        }
        #expect(try MappedFile.read(place + "/a", limit: 9) == [2])
        #expect(try entries(home.path) == ["out"])
    }

    /// Also an empty directory, which a plain rename would replace.
    @Test func whatIsAtThePlaceStaysUnlessAsked() throws {
        let place = home.file("out")
        let staged = try StagedDirectory(place)
        try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: false)
        #expect { try staged.finish(replacing: false) } throws: { ($0 as? PruneError)?.kind == .file }
        #expect(try entries(place) == [])
    }

    /// What killed processes left goes with the next one of the name; what others are writing, or named otherwise, stays.
    @Test func leftoversOfEarlierStagingsAreRemoved() throws {
        let place = home.file("out")
        for name in ["out.1a2b3c4d.partial", "out.xyz.partial", "other.1a2b3c4d.partial", "out.00.partial.keep"] {
            try FileManager.default.createDirectory(
                atPath: home.file(name) + "/inner", withIntermediateDirectories: true)
            try AtomicFile.write([1], to: home.file(name) + "/file")
        }
        let first = try StagedDirectory(place)
        let second = try StagedDirectory(place)
        #expect(MappedFile.exists(first.path) && MappedFile.exists(second.path))
        #expect(!MappedFile.exists(home.file("out.1a2b3c4d.partial")))
        for name in ["out.xyz.partial", "other.1a2b3c4d.partial", "out.00.partial.keep"] {
            #expect(MappedFile.exists(home.file(name) + "/file"))
        }
        try second.finish(replacing: false)
        #expect(MappedFile.exists(first.path))
    }

    @Test func stagingRefusesPlacesThatCannotBe() {
        #expect { try StagedDirectory(home.file("missing/out")) } throws: { ($0 as? PruneError)?.kind == .file }
    }
}
