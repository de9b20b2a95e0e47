// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

@testable import PruneCore

@Suite struct CheckpointDirectoryTests {
    static let one = Sample(name: "a", dtype: "BF16", shape: [1], bytes: [1, 2])
    static let two = Sample(name: "b", dtype: "F32", shape: [1], bytes: [3, 4, 5, 6])

    @Test func opensTheExampleModel() throws {
        for path in [talesDirectory, talesDirectory + "/"] {
            let checkpoint = try Checkpoint.open(directory: path)
            let config = checkpoint.config
            let architecture = config.architecture
            #expect(architecture.name == "LlamaForCausalLM")
            #expect(config.blockCount == 12 && config.hiddenSize == 128 && config.feedForwardSize == 352)
            #expect(config.headCount == 8 && config.kvHeadCount == 4 && config.headSize == 16)
            #expect(config.vocabularySize == 2048 && config.contextLength == 1024 && config.tiesEmbeddings)
            #expect(config.normEpsilon == 1e-5)

            let tensors = checkpoint.tensors
            #expect(!tensors.contains(architecture.headName))
            let embedding = try tensors.tensor(architecture.embeddingName, shape: [2048, 128])
            #expect(embedding.elementType == .bfloat16)
            // The first and last two elements, as the safetensors package reads them.
            #expect(Array(embedding.bytes.prefix(4)) == [0xA2, 0x3E, 0x02, 0xBD])
            #expect(Array(embedding.bytes.suffix(4)) == [0xD2, 0x3D, 0x3E, 0xBD])
            let norm = try tensors.tensor("model.norm.weight", shape: [128])
            #expect(Array(norm.bytes.prefix(4)) == [0xF4, 0x3F, 0x0B, 0x40])
            let shapes = [
                "input_layernorm": [128], "self_attn.q_proj": [128, 128], "self_attn.k_proj": [64, 128],
                "self_attn.v_proj": [64, 128], "self_attn.o_proj": [128, 128], "post_attention_layernorm": [128],
                "mlp.gate_proj": [352, 128], "mlp.up_proj": [352, 128], "mlp.down_proj": [128, 352],
            ]
            let planned = plannedTensors(config)
            #expect(planned.count == 2 + 12 * shapes.count)
            for block in 0..<12 {
                for (module, shape) in shapes {
                    let name = "model.layers.\(block).\(module)"
                    #expect(planned.contains { $0.name == name + ".weight" && $0.shape == shape })
                    _ = try tensors.tensor(name + ".weight", shape: shape)
                    #expect(!tensors.contains(name + ".bias"))
                }
            }
            let key = try tensors.tensor("model.layers.11.self_attn.k_proj.weight", shape: [64, 128])
            #expect(Array(key.bytes.prefix(4)) == [0x81, 0xBD, 0x14, 0x3D])
        }
    }

    @Test func opensShards() throws {
        let directory = try TemporaryDirectory()
        try directory.write("config.json", configuration())
        try directory.write("s1.safetensors", safetensors([Self.one]))
        let ids = Sample(name: "ids", dtype: "I64", shape: [1], bytes: Array(repeating: 0, count: 8))
        try directory.write("s2.safetensors", safetensors([Self.two, ids]))
        try directory.write(
            "model.safetensors.index.json",
            """
            {"metadata": {"total_size": 14},
             "weight_map": {"a": "s1.safetensors", "b": "s2.safetensors", "ids": "s2.safetensors"}}
            """)
        let tensors = try Checkpoint.open(directory: directory.path).tensors
        #expect(tensors.source == directory.path)
        let (a, b) = (try tensors.tensor("a", shape: [1]), try tensors.tensor("b", shape: [1]))
        #expect(Array(a.bytes) == [1, 2] && Array(b.bytes) == [3, 4, 5, 6])
        let areSeparate = a.owner !== b.owner
        #expect(areSeparate)
        expectFault(.unsupported, naming: "ids", "I64") { _ = try tensors.tensor("ids", shape: [1]) }

        // A file that holds everything goes before the index.
        try directory.write("model.safetensors", safetensors([Self.two]))
        #expect(try !Checkpoint.open(directory: directory.path).tensors.contains("a"))
    }

    @Test(arguments: ["", ".", "..", "../x.safetensors", "/etc/passwd", "sub//x", "x\\u0000y", "a/.."])
    func refusesShardsElsewhere(_ name: String) throws {
        let directory = try TemporaryDirectory()
        try directory.write("config.json", configuration())
        try directory.write("model.safetensors.index.json", #"{"weight_map": {"a": "\#(name)"}}"#)
        expectFault(.format, naming: "model.safetensors.index.json", "\"a\"", "not the name of a file") {
            _ = try Checkpoint.open(directory: directory.path)
        }
    }

    @Test func refusesBadIndices() throws {
        let directory = try TemporaryDirectory()
        try directory.write("config.json", configuration())
        try directory.write("s1.safetensors", safetensors([Self.one]))
        for (text, kind, word) in [
            (#"{}"#, FailureKind.format, "weight_map"),
            (#"{"weight_map": {}}"#, .format, "weight_map"),
            (#"{"weight_map": []}"#, .format, "an object"),
            (#"{"weight_map": {"a": 1}}"#, .format, "a string"),
            (#"["weight_map"]"#, .format, "an object"),
            (#"{"weight_map": {"a": "s1.safetensors", "a": "s1.safetensors"}}"#, .format, "twice"),
            (#"{"metadata": {"x": [1, {"y": 1, "y": 2}]}, "weight_map": {"a": "s1.safetensors"}}"#, .format, "twice"),
            (#"{"weight_map": {"a": "s1.safetensors"}, "weight_map": {"a": "s1.safetensors"}}"#, .format, "twice"),
            (#"{"weight_map": {"a": "s1.safetensors"},}"#, .format, "comma"),
        ] {
            try directory.write("model.safetensors.index.json", text)
            expectFault(kind, naming: word) { _ = try Checkpoint.open(directory: directory.path) }
        }
    }

    /// What an index names and nothing needs may be missing; what is asked for may not.
    @Test func refusesTensorsThatAnIndexNamesInVain() throws {
        let directory = try TemporaryDirectory()
        try directory.write("config.json", configuration())
        try directory.write("s1.safetensors", safetensors([Self.one]))
        try directory.write(
            "model.safetensors.index.json",
            #"{"weight_map": {"a": "s1.safetensors", "b": "s1.safetensors", "c": "sub/gone.safetensors"}}"#)
        let tensors = try Checkpoint.open(directory: directory.path).tensors
        #expect(tensors.contains("a") && tensors.contains("b") && tensors.contains("c"))
        expectFault(.format, naming: "\"b\"", "does not hold it") { _ = try tensors.tensor("b", shape: [1]) }
        expectFault(.file, naming: "sub/gone.safetensors: No such file") { _ = try tensors.tensor("c", shape: [1]) }
    }

    @Test func openingNamesTheFileThatIsMissing() throws {
        let directory = try TemporaryDirectory()
        let open = { _ = try Checkpoint.open(directory: directory.path) }
        expectFault(.file, naming: "nowhere", "No such file") { _ = try Checkpoint.open(directory: "/nowhere") }
        expectFault(.file, naming: "(empty path)") { _ = try Checkpoint.open(directory: "") }
        expectFault(.file, naming: "NUL") { _ = try Checkpoint.open(directory: "/tmp\u{0}/x") }
        expectFault(.file, naming: "config.json", "No such file") { try open() }
        let config = try directory.write("config.json", configuration())
        expectFault(.file, naming: "not a directory") { _ = try Checkpoint.open(directory: config) }
        expectFault(.file, naming: "model.safetensors ", "model.safetensors.index.json") { try open() }
        try directory.write("pytorch_model.bin", "x")
        expectFault(.file, naming: "To convert them") { try open() }
        // A link whose target is gone is told as such, not passed over.
        let link = directory.file("model.safetensors")
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: directory.file("gone"))
        expectFault(.file, naming: "model.safetensors: No such file") { try open() }
    }

    @Test func refusesFilesThatCannotBeMapped() throws {
        let directory = try TemporaryDirectory()
        expectFault(.file, naming: "Is a directory") { _ = try MappedFile(path: directory.path) }
        let empty = try directory.write("empty", "")
        expectFault(.format, naming: "empty") { _ = try MappedFile(path: empty) }
        expectFault(.file, naming: "empty/x", "Not a directory") { _ = try MappedFile(path: empty + "/x") }
        let loop = directory.file("loop")
        try FileManager.default.createSymbolicLink(atPath: loop, withDestinationPath: loop)
        expectFault(.file, naming: "loop", "Too many levels") { _ = try MappedFile(path: loop) }
        // Neither waits for a writer.
        expectFault(.file, naming: "/dev/null", "not a regular file") { _ = try MappedFile(path: "/dev/null") }
        let pipe = directory.file("pipe")
        try #require(mkfifo(pipe, 0o600) == 0)
        expectFault(.file, naming: "pipe", "not a regular file") { _ = try MappedFile(path: pipe) }
        expectFault(.file, naming: "NUL") { _ = try MappedFile(path: "a\u{0}b") }
    }

    @Test(.enabled(if: geteuid() != 0, "the superuser may read everything"))
    func refusesFilesThatMayNotBeRead() throws {
        let directory = try TemporaryDirectory()
        let path = try directory.write("secret", "x")
        try #require(chmod(path, 0) == 0)
        expectFault(.file, naming: "secret", "Permission denied") { _ = try MappedFile(path: path) }
    }

    @Test func readsTextUpToALimit() throws {
        let directory = try TemporaryDirectory()
        let path = try directory.write("x", "12345")
        #expect(try MappedFile.read(path, limit: 5) == Array("12345".utf8))
        expectFault(.format, naming: "5 bytes", "at most 4") { _ = try MappedFile.read(path, limit: 4) }
    }

    @Test func unmapsWhenTheLastTensorGoes() throws {
        let directory = try TemporaryDirectory()
        let path = try directory.write("model-\(UUID().uuidString)", safetensors([Self.one]))
        func isMapped() throws -> Bool {
            let maps = try FileHandle(forReadingFrom: URL(fileURLWithPath: "/proc/self/maps")).readToEnd()
            return String(decoding: maps ?? Data(), as: UTF8.self).contains(path)
        }
        var tensor = try SafetensorsFile.open(path).tensors["a"]
        #expect(try isMapped())
        #expect(tensor?.bytes.count == 2)
        tensor = nil
        #expect(try !isMapped())
    }

    @Test func believesTheWeightsAboutTying() throws {
        let directory = try TemporaryDirectory()
        try directory.write(
            "config.json",
            configuration("LlamaForCausalLM", ["tie_word_embeddings": "true", "vocab_size": "1"]))
        let embedding = Sample(
            name: "model.embed_tokens.weight", dtype: "F16", shape: [1, 64], bytes: Array(repeating: 1, count: 128))
        var head = embedding
        head.name = "lm_head.weight"
        func ties(_ samples: [Sample]) throws -> Bool {
            try directory.write("model.safetensors", safetensors(samples))
            return try Checkpoint.open(directory: directory.path).config.tiesEmbeddings
        }
        #expect(try ties([embedding]))
        #expect(try ties([embedding, head]))
        head.bytes[127] = 2
        #expect(try !ties([embedding, head]))
        head.shape = [64, 1]
        expectFault(.format, naming: "lm_head.weight", "[64, 1]", "[1, 64]") { _ = try ties([embedding, head]) }
    }
}
