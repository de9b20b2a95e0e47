// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

@testable import PruneCore

/// A directory that lives as long as the object.
final class TemporaryDirectory {
    let path: String

    init() throws {
        let url = FileManager.default.temporaryDirectory.appendingPathComponent("prunecore-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        path = url.path
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// Writes a file and gives its path.
    @discardableResult
    func write(_ name: String, _ bytes: [UInt8]) throws -> String {
        let path = file(name)
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        return path
    }

    @discardableResult
    func write(_ name: String, _ text: String) throws -> String { try write(name, Array(text.utf8)) }

    func file(_ name: String) -> String { path + "/" + name }
}

/// Checks that `body` fails with an error of that kind whose text contains every one of `words`.
func expectFault(
    _ kind: FailureKind, naming words: String..., sourceLocation: SourceLocation = #_sourceLocation,
    _ body: () throws -> Void
) {
    let error = #expect(throws: PruneError.self, sourceLocation: sourceLocation) { try body() }
    guard let error else { return }
    #expect(error.kind == kind, "\(error.message)", sourceLocation: sourceLocation)
    for word in words {
        #expect(error.message.contains(word), "no \(word) in: \(error.message)", sourceLocation: sourceLocation)
    }
}

/// A safetensors file of a header, as written, and data.
func safetensors(header: String, data: [UInt8]) -> [UInt8] {
    let text = Array(header.utf8)
    return withUnsafeBytes(of: UInt64(text.count).littleEndian) { Array($0) } + text + data
}

/// A tensor to write.
struct Sample {
    var name: String
    var dtype: String
    var shape: [Int]
    var bytes: [UInt8]
}

extension Sample {
    /// In fp32.
    init(name: String, _ values: [Float], shape: [Int]) {
        self.init(
            name: name, dtype: "F32", shape: shape, bytes: values.flatMap { withUnsafeBytes(of: $0, Array.init) })
    }
}

/// A safetensors file of tensors, one after the other.
func safetensors(_ samples: [Sample], metadata: Bool = true) -> [UInt8] {
    var members = metadata ? [#""__metadata__":{"format":"pt"}"#] : []
    var data: [UInt8] = []
    for sample in samples {
        let end = data.count + sample.bytes.count
        let type = #""dtype":"\#(sample.dtype)","shape":\#(sample.shape)"#
        members.append(#""\#(sample.name)":{\#(type),"data_offsets":[\#(data.count),\#(end)]}"#)
        data += sample.bytes
    }
    return safetensors(header: "{" + members.joined(separator: ",") + "}  ", data: data)
}

/// A config.json of a small model. `changes` are raw JSON values by key; nil leaves a key out.
func configuration(_ architecture: String = "LlamaForCausalLM", _ changes: [String: String?] = [:]) -> [UInt8] {
    var members: [String: String?] = [
        "architectures": "[\"\(architecture)\"]",
        "hidden_size": "64", "intermediate_size": "96", "num_hidden_layers": "3", "num_attention_heads": "4",
        "num_key_value_heads": "2", "vocab_size": "128",
    ]
    for (key, value) in changes { members[key] = .some(value) }
    let text = members.sorted { $0.key < $1.key }.compactMap { key, value in value.map { "\"\(key)\": \($0)" } }
    return Array(("{" + text.joined(separator: ",\n") + "}\n").utf8)
}

func parse(_ architecture: String = "LlamaForCausalLM", _ changes: [String: String?] = [:]) throws -> ModelConfig {
    try ModelConfig.parse(configuration(architecture, changes), path: "model/config.json")
}

/// Random numbers that are the same in every run (SplitMix64).
struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
