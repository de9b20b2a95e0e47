// SPDX-License-Identifier: Apache-2.0
import CKernels
import Foundation
import Testing

@testable import PruneCore

/// Pullbacks of the native engine's sublayers.
@Suite struct GradientTests {
    /// A model, and sublayers of it that differ.
    struct Kind: CustomTestStringConvertible {
        let testDescription: String
        var architecture = "LlamaForCausalLM"
        var changes: [String: String?] = [:]
        var sublayers = [0, 1]

        func model(_ compute: ComputeType = .float32) throws -> NativeModel {
            try randomModel(architecture, changes, compute: compute)
        }
    }

    static let kinds = [
        Kind(testDescription: "grouped queries"),
        Kind(testDescription: "one key and value head", changes: ["num_key_value_heads": "1"], sublayers: [0]),
        Kind(testDescription: "a head each", changes: ["num_key_value_heads": "4"], sublayers: [0]),
        Kind(testDescription: "heads of 80", changes: ["head_dim": "80"], sublayers: [2]),
        Kind(
            testDescription: "window of 5", architecture: "MistralForCausalLM", changes: ["sliding_window": "5"],
            sublayers: [0]),
        Kind(
            testDescription: "window of 100", architecture: "MistralForCausalLM", changes: ["sliding_window": "100"],
            sublayers: [0]),
        Kind(testDescription: "biases", changes: ["attention_bias": "true", "mlp_bias": "true"], sublayers: [2, 3]),
        Kind(testDescription: "biases of Qwen2", architecture: "Qwen2ForCausalLM", sublayers: [0]),
        Kind(testDescription: "head norms", architecture: "Qwen3ForCausalLM", sublayers: [0]),
        Kind(testDescription: "gelu", changes: ["hidden_act": #""gelu""#], sublayers: [1]),
        Kind(testDescription: "gelu by tanh", changes: ["hidden_act": #""gelu_pytorch_tanh""#], sublayers: [1]),
        Kind(
            testDescription: "stretched angles",
            changes: ["rope_scaling": #"{"rope_type":"yarn","factor":4.0,"original_max_position_embeddings":32}"#],
            sublayers: [0]),
    ]

    /// Sequences of several states; some are longer than a tile of queries.
    static let lengths = [[150, 1, 40], [2, 75]]

    /// Numbers of about the size of a normal distribution's.
    static func values(_ count: Int, seed: UInt64) -> [Float] {
        var random = RandomSource(seed: seed, stream: 0)
        return (0..<count).map { _ in Float((0..<3).reduce(0.0) { sum, _ in sum + 2 * random.unit() - 1 }) }
    }

    func batches(_ lengths: [[Int]] = Self.lengths) throws -> [TokenBatch] {
        try lengths.map { lengths in
            let count = lengths.reduce(0, +)
            let data = try TokenData(tokens: (0..<count).map { Int32($0 % 32) }, lengths: lengths, weights: nil)
            return TokenBatch(data, 0..<lengths.count)
        }
    }

    /// Random rows for each batch.
    func rows(_ model: NativeModel, _ batches: [TokenBatch], seed: UInt64) -> [[Float]] {
        batches.enumerated().map { Self.values($1.rowCount * model.shape.hiddenSize, seed: seed + UInt64($0)) }
    }

    func states(_ model: NativeModel, _ batches: [TokenBatch], _ rows: [[Float]]) throws -> [any HiddenState] {
        try zip(batches, rows).map { batch, rows in
            try model.write(like: model.start(batch)) { out in for index in rows.indices { out[index] = rows[index] } }
        }
    }

    func floats(_ model: NativeModel, _ states: [any HiddenState]) throws -> [[Float]] {
        try states.map { try model.read($0) { values in values.indices.map { values[$0] } } }
    }

    /// Pullback of `gradients` at the states of those rows.
    func pullback(
        _ model: NativeModel, _ sublayer: Int, _ batches: [TokenBatch], at rows: [[Float]], of gradients: [[Float]]
    ) throws -> [[Float]] {
        let results = try model.pullback(
            sublayer, at: try states(model, batches, rows), of: try states(model, batches, gradients))
        return try floats(model, results)
    }

    func dot(_ a: [[Float]], _ b: [[Float]]) -> Double {
        zip(a.joined(), b.joined()).reduce(0) { $0 + Double($1.0) * Double($1.1) }
    }

    /// The gradient less that of the residual path.
    func ofUpdate(_ gradients: [[Float]], _ given: [[Float]]) -> [[Float]] {
        zip(gradients, given).map { zip($0, $1).map(-) }
    }

    @Test(arguments: kinds) func pullbacksAgreeWithFiniteDifferences(_ kind: Kind) throws {
        let model = try kind.model()
        let batches = try batches()
        let h = rows(model, batches, seed: 1)
        let given = rows(model, batches, seed: 11)
        for sublayer in kind.sublayers {
            let update = ofUpdate(try pullback(model, sublayer, batches, at: h, of: given), given)
            let length = dot(update, update).squareRoot()
            #expect(length > 1)
            /// given * (what the sublayer adds at h + step * direction)
            func projection(_ direction: [[Float]], _ step: Float) throws -> Double {
                let moved = zip(h, direction).map { zip($0, $1).map { $0 + step * $1 } }
                let after = try floats(model, try model.apply(sublayer, to: try states(model, batches, moved)))
                return dot(given, zip(after, moved).map { zip($0, $1).map(-) })
            }
            let largest = update.joined().map(abs).max() ?? 0
            let steepest = update.map { $0.map { 3 * $0 / largest } }
            for direction in [steepest] + (0..<4).map({ rows(model, batches, seed: 21 + 10 * $0) }) {
                let step: Float = 0.01
                let near = try projection(direction, step) - projection(direction, -step)
                let far = try projection(direction, 2 * step) - projection(direction, -2 * step)
                let slope = (8 * near - far) / (12 * Double(step))
                let size = length * (dot(direction, direction) / Double(h.joined().count)).squareRoot()
                #expect(abs(dot(update, direction) - slope) <= 1e-3 * size, "sublayer \(sublayer)")
            }
        }
    }

    @Test(.enabled(if: BFloat16Product.isSupported, "this CPU has no bf16 instructions"), arguments: kinds)
    func pullbacksInBFloat16AreNearFloat32(_ kind: Kind) throws {
        let (exact, rounded) = (try kind.model(), try kind.model(.bfloat16))
        let batches = try batches()
        let h = rows(exact, batches, seed: 1)
        let given = rows(exact, batches, seed: 11)
        for sublayer in kind.sublayers {
            let a = ofUpdate(try pullback(exact, sublayer, batches, at: h, of: given), given)
            let b = ofUpdate(try pullback(rounded, sublayer, batches, at: h, of: given), given)
            let difference = ofUpdate(a, b)
            #expect(a != b)
            #expect(dot(difference, difference).squareRoot() <= 2e-2 * dot(a, a).squareRoot(), "sublayer \(sublayer)")
        }
    }

    @Test(arguments: ComputeType.allCases.filter(\.isSupported))
    func pullbacksDependOnNeitherThreadsNorOtherStates(_ compute: ComputeType) throws {
        defer { ThreadPool.threads = 0 }
        let model = try randomModel("Qwen3ForCausalLM", ["attention_bias": "true"], compute: compute)
        let batches = try batches([[150, 1, 40], [2, 75], [1], [300]])
        let h = rows(model, batches, seed: 1)
        let given = rows(model, batches, seed: 11)
        for sublayer in 0..<2 {
            ThreadPool.threads = 1
            let alone = try batches.indices.map {
                try pullback(model, sublayer, [batches[$0]], at: [h[$0]], of: [given[$0]])[0]
            }
            for threads in 1...3 {
                ThreadPool.threads = threads
                #expect(try pullback(model, sublayer, batches, at: h, of: given) == alone)
            }
        }
    }

    @Test func pullbacksTakeMoreRowsThanGoThroughTogether() throws {
        let model = try randomModel()
        let batches = try batches([[RowLimit.call - 10], [70], [RowLimit.call + 5]])
        let h = rows(model, batches, seed: 1)
        let given = rows(model, batches, seed: 11)
        let together = try pullback(model, 1, batches, at: h, of: given)
        for (index, batch) in batches.enumerated() {
            #expect(try pullback(model, 1, [batch], at: [h[index]], of: [given[index]])[0] == together[index])
        }
    }

    @Test func gradientsOfOtherRowsAreRefused() throws {
        let model = try randomModel()
        let batches = try batches()
        let all = try states(model, batches, rows(model, batches, seed: 1))
        expectFault(.internal) { _ = try model.pullback(0, at: all, of: [all[0]]) }
        expectFault(.internal) { _ = try model.pullback(0, at: all, of: all.reversed()) }
    }
}

/// Loops of gradients against plain arithmetic in double, at every CPU level of this machine.
@Suite struct GradientLoopTests {
    static let lengths = [1, 15, 16, 33, 1031]

    func widened(_ bits: UInt16) -> Float { Float(bitPattern: UInt32(bits) << 16) }

    @Test(arguments: BFloat16LoopTests.levels, lengths)
    func gates(_ level: Int32, _ count: Int) {
        let values = (1...3).map { GradientTests.values(count, seed: $0).map { 4 * $0 } }
        let (d, x, up) = (values[0], values[1], values[2])
        /// Checks a loop against an activation and its central difference.
        func check(
            _ loop: (Int32, UnsafePointer<Float>, UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>, Int) ->
                Void,
            _ activation: (Double) -> Double
        ) {
            var (gates, ups) = (x, up)
            loop(level, d, &gates, &ups, count)
            for index in 0..<count {
                let (d, x, up) = (Double(d[index]), Double(x[index]), Double(up[index]))
                let slope = (activation(x + 1e-5) - activation(x - 1e-5)) / 2e-5
                #expect(abs(Double(gates[index]) - d * up * slope) <= 2e-6 * (abs(d * up) + 1))
                #expect(abs(Double(ups[index]) - d * activation(x)) <= 2e-6 * (abs(d * x) + 1))
            }
        }
        check(kernel_silu_pullback) { $0 / (1 + exp(-$0)) }
        check(kernel_gelu_tanh_pullback) {
            0.5 * $0 * (1 + tanh((2 / Double.pi).squareRoot() * ($0 + 0.044715 * $0 * $0 * $0)))
        }
    }

    @Test(arguments: BFloat16LoopTests.levels, lengths)
    func probabilities(_ level: Int32, _ count: Int) {
        var p = GradientTests.values(count, seed: 4)
        kernel_softmax(level, &p, count)
        let given = GradientTests.values(count, seed: 5)
        var d = given
        kernel_softmax_pullback(level, p, &d, 0.25, count)
        let mean = zip(p, given).reduce(0) { $0 + Double($1.0) * Double($1.1) }
        for index in 0..<count {
            let exact = 0.25 * Double(p[index]) * (Double(given[index]) - mean)
            #expect(abs(Double(d[index]) - exact) <= 1e-6)
        }
        var x = GradientTests.values(count, seed: 4)
        var rounded = [UInt16](repeating: 0, count: count)
        var out = rounded
        kernel_softmax_pullback_bf16(level, &x, given, 0.25, &rounded, &out, count)
        for index in 0..<count {
            #expect(abs(widened(rounded[index]) - p[index]) <= p[index] / 250)
            #expect(abs(widened(out[index]) - d[index]) <= abs(d[index]) / 250 + 1e-6)
        }
    }

    @Test(arguments: BFloat16LoopTests.levels)
    func turnsBack(_ level: Int32) {
        let half = 21
        let x = GradientTests.values(2 * half, seed: 6)
        let angles = GradientTests.values(half, seed: 7)
        var turned = x
        kernel_rotate(level, &turned, angles.map { cosf($0) }, angles.map { sinf($0) }, half)
        kernel_rotate_back(level, &turned, angles.map { cosf($0) }, angles.map { sinf($0) }, half)
        #expect(zip(x, turned).allSatisfy { abs($0 - $1) <= 1e-5 })
    }

    @Test(
        .enabled(if: BFloat16Product.isSupported, "this CPU has no bf16 instructions"),
        arguments: [(1, 1), (2, 5), (15, 16), (33, 64), (72, 80)])
    func transposes(_ shape: (rows: Int, columns: Int)) {
        let (rows, columns) = shape
        let (stride, outStride) = (columns + 3, (rows + 1) / 2 * 2 + 4)
        let x = (0..<rows * stride).map { UInt16($0 % 60_000 + 8) }
        var out = [UInt16](repeating: 7, count: columns * outStride)
        kernel_bf16_transpose(x, stride, rows, columns, &out, outStride)
        for column in 0..<columns {
            for row in 0..<outStride {
                let found = out[column * outStride + row]
                let partner: UInt16 = row < (rows + 1) / 2 * 2 ? 0 : 7
                #expect(found == (row < rows ? x[row * stride + column] : partner))
            }
        }
    }
}
