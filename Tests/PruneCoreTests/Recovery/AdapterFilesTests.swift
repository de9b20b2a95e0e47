// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

@testable import PruneCore

/// Adapters on disk: what is saved is loaded, whatever happens to a save, and damage is told.
@Suite struct AdapterFilesTests {
    var adapters: AdapterSet {
        var set = randomAdapters(
            mask(blocks: 3, without: [0, 1, 3, 4]), width: 6,
            [0: (.bias, 0), 1: (.lowRank, 2), 4: (.linear, 0)])
        set.report.objective = .kl
        set.report.statisticsTokens = 1234
        set.report.trainedTokens = 99
        set.report.steps = 10
        set.report.bestStep = 7
        set.report.heldOutBefore = 0.1
        set.report.heldOutBest = 1.0 / 3.0
        set.report.seconds = 1.5
        set.report.ridges = [1: 1e-3, 4: 0.25]
        set.report.explained = [1: -0.125]
        set.report.history = [
            TrainingRecord(step: 0, loss: 5, heldOutLoss: 0.1),
            TrainingRecord(step: 7, loss: 0.1, heldOutLoss: 1.0 / 3.0),
        ]
        return set
    }

    func expectSame(_ one: AdapterSet, _ other: AdapterSet, sourceLocation: SourceLocation = #_sourceLocation) {
        #expect(one.mask == other.mask && one.adapters == other.adapters, sourceLocation: sourceLocation)
        #expect(one.weightSample == other.weightSample, sourceLocation: sourceLocation)
        #expect(one.hiddenSize == other.hiddenSize && one.report == other.report, sourceLocation: sourceLocation)
    }

    @Test func savedAdaptersAreLoadedAsTheyWere() throws {
        let directory = try TemporaryDirectory()
        let place = directory.file("a/b")
        try AdapterFiles.save(adapters, to: place, provenance: #"{"tool": "x\"y", "n": [1, 2.5]}"#)
        expectSame(try AdapterFiles.load(place), adapters)
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: place).sorted() == [
                "adapters.json", "adapters.safetensors",
            ])
        // Over others, and with nothing to save.
        let none = AdapterSet(mask: mask(blocks: 1, without: [1]), adapters: [:], weightSample: [], hiddenSize: 4)
        try AdapterFiles.save(none, to: place)
        expectSame(try AdapterFiles.load(place), none)
        var raw = randomAdapters(mask(blocks: 3, without: [5]), width: 6, [5: (.linear, 0)], normed: false)
        raw.report.history = []
        try AdapterFiles.save(raw, to: place + "/")
        expectSame(try AdapterFiles.load(place), raw)
    }

    /// Older readers, which take every norm for a root-mean-square norm, are told by the version.
    @Test func layerNormsAreSavedAsVersion2() throws {
        let directory = try TemporaryDirectory()
        let set = randomAdapters(
            mask(blocks: 3, without: [1, 4]), width: 6, [1: (.lowRank, 2), 4: (.linear, 0)], norm: .layer)
        try AdapterFiles.save(set, to: directory.path)
        expectSame(try AdapterFiles.load(directory.path), set)
        let text = try String(contentsOfFile: directory.file("adapters.json"), encoding: .utf8)
        #expect(text.contains(#""version": 2"#) && text.contains(#""norm": "layer""#))
        let tensors = try SafetensorsFile.open(directory.file("adapters.safetensors")).tensors
        #expect(tensors["ffn.0.norm.bias"]?.shape == [6] && tensors["attn.2.norm.bias"]?.shape == [6])
        #expect(try set.values(of: .normBias, atSublayer: 1) == set.adapters[1]?.norm?.bias)

        try directory.write(
            "adapters.json", text.replacingOccurrences(of: #""norm": "layer""#, with: #""norm": "batch""#))
        expectFault(.format, naming: "adapters[0].norm", "batch") { _ = try AdapterFiles.load(directory.path) }
        // A bias is no part of others, and a layer norm may have none.
        let plain = randomAdapters(mask(blocks: 3, without: [1]), width: 6, [1: (.linear, 0)])
        expectFault(.argument, naming: "ffn.0", "norm_bias") { _ = try plain.values(of: .normBias, atSublayer: 1) }
        var bare = set
        bare.adapters[1] = Adapter(
            .linear, width: 6, norm: InputNorm(.layer, gain: Array(repeating: 2, count: 6), epsilon: 1e-5))
        try AdapterFiles.save(bare, to: directory.path)
        expectSame(try AdapterFiles.load(directory.path), bare)
        bare.adapters[1] = Adapter(
            .linear, width: 6,
            norm: InputNorm(.layer, gain: [1, 1, 1, 1, 1, 1], bias: [1, 1, .nan, 1, 1, 1], epsilon: 1e-5))
        expectFault(.nonFinite, naming: "ffn.0") { try AdapterFiles.save(bare, to: directory.path) }
    }

    @Test func aLossThatIsNoNumberStaysOne() throws {
        let directory = try TemporaryDirectory()
        var set = adapters
        set.report.history = [TrainingRecord(step: 0, loss: .nan, heldOutLoss: 2)]
        try AdapterFiles.save(set, to: directory.path)
        let record = try #require(try AdapterFiles.load(directory.path).report.history.first)
        #expect(record.loss.isNaN && record.heldOutLoss == 2)
    }

    @Test func theTensorsAreNamedAndShaped() throws {
        let directory = try TemporaryDirectory()
        try AdapterFiles.save(adapters, to: directory.path)
        let file = try SafetensorsFile.open(directory.file("adapters.safetensors"))
        #expect(
            file.tensors.mapValues(\.shape) == [
                "attn.0.bias": [6], "ffn.0.bias": [6], "ffn.0.down.weight": [2, 6], "ffn.0.up.weight": [6, 2],
                "ffn.0.norm.weight": [6], "attn.2.bias": [6], "attn.2.linear.weight": [6, 6], "attn.2.norm.weight": [6],
            ])
        #expect(file.tensors.values.allSatisfy { $0.elementType == .float32 })
    }

    /// A save that stops after any of its steps leaves the older or the newer adapters.
    @Test func aSaveThatStopsLeavesOneOrTheOther() throws {
        let directory = try TemporaryDirectory()
        let files = FileManager.default
        let (older, newer) = (adapters, randomAdapters(mask(blocks: 3, without: [2]), width: 6, [2: (.bias, 0)]))
        try AdapterFiles.save(newer, to: directory.file("newer"))
        let place = directory.file("here")
        try AdapterFiles.save(older, to: place)
        // The numbers are written, the document is not.
        try files.copyItem(
            atPath: directory.file("newer/adapters.safetensors"), toPath: place + "/adapters.safetensors.new")
        expectSame(try AdapterFiles.load(place), older)
        // The document is written, the numbers have not taken their name.
        try files.removeItem(atPath: place + "/adapters.json")
        try files.copyItem(atPath: directory.file("newer/adapters.json"), toPath: place + "/adapters.json")
        expectSame(try AdapterFiles.load(place), newer)
        // A save that begins now and is refused loses nothing.
        expectFault(.format, naming: "provenance") { try AdapterFiles.save(older, to: place, provenance: "[]") }
        expectSame(try AdapterFiles.load(place), newer)
        try AdapterFiles.save(older, to: place)
        expectSame(try AdapterFiles.load(place), older)
    }

    @Test func filesThatAreMissingOrOfOthersAreRefused() throws {
        let directory = try TemporaryDirectory()
        expectFault(.file, naming: "adapters.json") { _ = try AdapterFiles.load(directory.path) }
        expectFault(.file) { _ = try AdapterFiles.load("") }
        expectFault(.file) { try AdapterFiles.save(adapters, to: "") }
        let path = try directory.write("a file", "text")
        expectFault(.file, naming: "a file") { try AdapterFiles.save(adapters, to: path + "/below") }
        expectFault(.file) { _ = try AdapterFiles.load(path) }
        try AdapterFiles.save(adapters, to: directory.file("one"))
        try AdapterFiles.save(
            randomAdapters(
                mask(blocks: 3, without: [2]), width: 6, [2: (.bias, 0)]), to: directory.file("two"))
        let numbers = directory.file("one/adapters.safetensors")
        try FileManager.default.removeItem(atPath: numbers)
        expectFault(.file, naming: "adapters.safetensors") { _ = try AdapterFiles.load(directory.file("one")) }
        try FileManager.default.copyItem(atPath: directory.file("two/adapters.safetensors"), toPath: numbers)
        expectFault(.format, naming: "one/adapters.safetensors", "checksum") {
            _ = try AdapterFiles.load(directory.file("one"))
        }
    }

    /// Members of the document that are wrong in themselves, each named.
    @Test func wrongMembersAreNamed() throws {
        let directory = try TemporaryDirectory()
        try AdapterFiles.save(adapters, to: directory.path)
        let text = try String(contentsOfFile: directory.file("adapters.json"), encoding: .utf8)
        func refused(
            _ old: String, _ new: String, _ kind: FailureKind = .format, naming word: String,
            sourceLocation: SourceLocation = #_sourceLocation
        ) throws {
            let changed = text.replacingOccurrences(of: old, with: new)
            #expect(changed != text, sourceLocation: sourceLocation)
            try directory.write("adapters.json", changed)
            expectFault(kind, naming: "adapters.json", word, sourceLocation: sourceLocation) {
                _ = try AdapterFiles.load(directory.path)
            }
        }
        try refused("prunecore.adapters", "prunecore.mask", naming: "format")
        try refused(#""version": 1"#, #""version": 3"#, .unsupported, naming: "version")
        try refused(#""n_blocks": 3"#, #""n_blocks": 0"#, naming: "n_blocks")
        try refused(#"["attn.0", "#, #"["attn.9", "#, naming: "attn.9")
        try refused(#"["attn.0", "#, "[", naming: "attn.0")
        try refused(#""hidden_size": 6"#, #""hidden_size": 0"#, naming: "hidden_size")
        try refused(#""hidden_size": 6"#, #""hidden_size": 99999999999"#, .unsupported, naming: "hidden_size")
        try refused(#""kind": "linear""#, #""kind": "cubic""#, naming: "adapters[2].kind")
        try refused(#""rank": 2"#, #""rank": 0"#, naming: "rank")
        try refused(#""rank": 2"#, #""rank": 1000000000000000000"#, .unsupported, naming: "rank")
        try refused(#""kind": "bias", "rank": 0"#, #""kind": "bias", "rank": 3"#, naming: "rank")
        try refused(#""input": "normed""#, #""input": "cooked""#, naming: "input")
        try refused(#""epsilon": 9.9"#, #""epsilon": -9.9"#, naming: "epsilon")
        try refused(#""objective": "kl""#, #""objective": "luck""#, naming: "objective")
        try refused(#""sublayer": "attn.2""#, #""sublayer": "attn.0""#, naming: "already")
        try refused(#""weight_sample": ["#, #""weight_sample": ["a", "#, naming: "weight_sample")
    }

    /// Numbers that do not fit the document, with a checksum that does.
    @Test func wrongTensorsAreNamed() throws {
        let directory = try TemporaryDirectory()
        let set = randomAdapters(mask(blocks: 1, without: [0]), width: 2, [0: (.bias, 0)])
        try AdapterFiles.save(set, to: directory.path)
        let bias = Sample(name: "attn.0.bias", dtype: "F32", shape: [2], bytes: Array(repeating: 0, count: 8))
        func write(_ samples: [Sample]) throws { try Self.replace(safetensors(samples), in: directory) }
        try write([bias])
        #expect(try AdapterFiles.load(directory.path).adapters[0]?.parameters == [0, 0])
        for wrong in [
            Sample(name: "attn.0.bias", dtype: "F32", shape: [3], bytes: Array(repeating: 0, count: 12)),
            Sample(name: "attn.0.bias", dtype: "BF16", shape: [2], bytes: Array(repeating: 0, count: 4)),
            Sample(name: "attn.0.bias", dtype: "I64", shape: [2], bytes: Array(repeating: 0, count: 16)),
            Sample(name: "attn.0.bias", dtype: "F32", shape: [2, 1], bytes: Array(repeating: 0, count: 8)),
            Sample(name: "attn.0.bias", dtype: "F32", shape: [2], bytes: [0, 0, 0, 0, 0, 0, 0xC0, 0x7F]),
        ] {
            try write([wrong])
            expectFault(.format, naming: "adapters.safetensors", "attn.0.bias") {
                _ = try AdapterFiles.load(directory.path)
            }
        }
        try write([bias, Sample(name: "ffn.0.bias", dtype: "F32", shape: [2], bytes: Array(repeating: 0, count: 8))])
        expectFault(.format, naming: "ffn.0.bias") { _ = try AdapterFiles.load(directory.path) }
        try write([])
        expectFault(.format, naming: "attn.0.bias") { _ = try AdapterFiles.load(directory.path) }
    }

    /// Random damage: loads or throws, never traps. Half of the damaged tensor files get a checksum that fits.
    @Test func damagedFilesLoadOrThrow() throws {
        let directory = try TemporaryDirectory()
        try AdapterFiles.save(adapters, to: directory.path)
        let document = [UInt8](try Data(contentsOf: URL(fileURLWithPath: directory.file("adapters.json"))))
        let numbers = [UInt8](try Data(contentsOf: URL(fileURLWithPath: directory.file("adapters.safetensors"))))
        var random = SeededGenerator(state: 5)
        var loaded = 0
        func load() {
            guard let set = try? AdapterFiles.load(directory.path) else { return }
            loaded += 1
            #expect(
                set.adapters.allSatisfy { sublayer, adapter in
                    !set.mask.keeps(sublayer) && adapter.width == set.hiddenSize
                        && adapter.parameters.count
                            == Adapter.parameterCount(adapter.kind, width: adapter.width, rank: adapter.rank)
                        && adapter.parameters.allSatisfy(\.isFinite)
                })
        }
        for _ in 0..<800 {
            try directory.write("adapters.json", CheckpointFuzzTests.damage(document, &random))
            load()
        }
        #expect(loaded > 0 && loaded < 600)
        try directory.write("adapters.json", document)
        loaded = 0
        for _ in 0..<500 {
            let damaged = CheckpointFuzzTests.damage(numbers, &random)
            try directory.write("adapters.safetensors", damaged)
            if damaged != numbers { load() }
        }
        #expect(loaded == 0)
        for _ in 0..<800 {
            try Self.replace(CheckpointFuzzTests.damage(numbers, &random), in: directory)
            load()
        }
        #expect(loaded > 0 && loaded < 700)
        for count in stride(from: 0, to: numbers.count, by: 7) {
            try Self.replace(Array(numbers.prefix(count)), in: directory)
            #expect(throws: PruneError.self) { try AdapterFiles.load(directory.path) }
        }
    }

    /// Writes other numbers into a directory, and their checksum into its document.
    static func replace(_ numbers: [UInt8], in directory: TemporaryDirectory) throws {
        try directory.write("adapters.safetensors", numbers)
        var text = [UInt8](try Data(contentsOf: URL(fileURLWithPath: directory.file("adapters.json"))))
        let mark = Array("\"sha256\": \"".utf8)
        let start = try #require(text.indices.first { text[$0...].starts(with: mark) }) + mark.count
        text.replaceSubrange(start..<start + 64, with: numbers.withUnsafeBytes { SHA256.hexadecimal(of: $0) }.utf8)
        try directory.write("adapters.json", text)
    }
}
