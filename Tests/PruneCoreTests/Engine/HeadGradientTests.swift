// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

#if canImport(Glibc)
    import Glibc
#endif

/// The losses of logits and their gradient with respect to the hidden state before the final norm.
@Suite struct HeadGradientTests {
    static let width = 24
    static let objectives = ["ce", "kl", "js"]
    static var computeTypes: [ComputeType] { ComputeType.bfloat16.isSupported ? [.float32, .bfloat16] : [.float32] }

    /// A model of one block, all parameters random.
    static func model(vocabulary: Int, _ compute: ComputeType = .float32) throws -> NativeModel {
        var random = RandomSource(seed: 3, stream: 0)
        func tensor(_ name: String, _ shape: Int..., mean: Float = 0, spread: Float) -> Sample {
            let values = (0..<shape.reduce(1, *)).map { _ in mean + spread * Float(2 * random.unit() - 1) }
            let bytes = values.flatMap { withUnsafeBytes(of: $0, Array.init) }
            return Sample(name: name, dtype: "F32", shape: shape, bytes: bytes)
        }
        let directory = try TemporaryDirectory()
        try directory.write(
            "config.json",
            configuration(
                "LlamaForCausalLM",
                [
                    "hidden_size": "\(width)", "intermediate_size": "8", "num_hidden_layers": "1",
                    "num_attention_heads": "2",
                    "vocab_size": "\(vocabulary)", "rms_norm_eps": "0.01",
                ]))
        let layer = "model.layers.0."
        try directory.write(
            "model.safetensors",
            safetensors([
                tensor("model.embed_tokens.weight", vocabulary, width, spread: 1),
                tensor("lm_head.weight", vocabulary, width, spread: 1),
                tensor("model.norm.weight", width, mean: 1, spread: 0.5),
                tensor(layer + "input_layernorm.weight", width, spread: 1),
                tensor(layer + "post_attention_layernorm.weight", width, spread: 1),
                tensor(layer + "self_attn.q_proj.weight", width, width, spread: 1),
                tensor(layer + "self_attn.k_proj.weight", width, width, spread: 1),
                tensor(layer + "self_attn.v_proj.weight", width, width, spread: 1),
                tensor(layer + "self_attn.o_proj.weight", width, width, spread: 1),
                tensor(layer + "mlp.gate_proj.weight", 8, width, spread: 1),
                tensor(layer + "mlp.up_proj.weight", 8, width, spread: 1),
                tensor(layer + "mlp.down_proj.weight", width, 8, spread: 1),
            ]))
        // The mapped file outlives its name.
        return try NativeModel(directory: directory.path, compute: compute)
    }

    static func batch(_ lengths: [Int], vocabulary: Int) throws -> TokenBatch {
        var random = RandomSource(seed: 5, stream: 1)
        let tokens = (0..<lengths.reduce(0, +)).map { _ in Int32(random.index(below: vocabulary)) }
        return TokenBatch(try TokenData(tokens: tokens, lengths: lengths, weights: nil), 0..<lengths.count)
    }

    static func state(_ model: NativeModel, _ batch: TokenBatch, seed: UInt64) throws -> any HiddenState {
        var random = RandomSource(seed: seed, stream: 2)
        return try model.write(like: model.start(batch)) { (values) throws(PruneError) in
            for index in 0..<values.count { values[index] = Float(3 * random.unit() - 1.5) }
        }
    }

    static func weights(_ count: Int) -> [Float] { (0..<count).map { Float($0 % 5) / 4 + 0.25 } }

    static func objective(_ name: String, _ reference: any HiddenState) -> HeadObjective {
        switch name {
        case "kl": .kl(reference)
        case "js": .js(reference)
        default: .crossEntropy
        }
    }

    func values(_ model: NativeModel, _ state: any HiddenState) throws -> [Float] {
        try model.read(state) { (values) throws(PruneError) in values.withUnsafeBufferPointer { Array($0) } }
    }

    func relativeDifference(_ a: [Float], _ b: [Float]) -> Double {
        let difference = zip(a, b).reduce(0.0) { $0 + pow(Double($1.0) - Double($1.1), 2) }
        return (difference / b.reduce(0.0) { $0 + pow(Double($1), 2) }).squareRoot()
    }

    /// The logits of one row, in double.
    func logits(_ model: NativeModel, _ h: [Double]) throws -> [Double] {
        let norm = try #require(model.weights.finalNorm)
        let gain = try norm.prepared(model.scratch).gain
        let head = try model.scratch.buffer(model.config.vocabularySize * h.count)
        model.weights.head.widen(first: 0, count: model.config.vocabularySize, into: head.pointer)
        let scale = 1 / (h.reduce(0) { $0 + $1 * $1 } / Double(h.count) + Double(norm.plan.epsilon)).squareRoot()
        let x = h.indices.map { h[$0] * scale * Double(gain.pointer[$0]) }
        return (0..<model.config.vocabularySize).map { entry in
            x.indices.reduce(0) { $0 + x[$1] * Double(head.pointer[entry * h.count + $1]) }
        }
    }

    @Test(arguments: objectives)
    func headPullbacksEqualDifferencesInDouble(_ name: String) throws {
        let model = try Self.model(vocabulary: 67)
        let batch = try Self.batch([4, 1, 3], vocabulary: 67)
        let (own, other) = (try Self.state(model, batch, seed: 1), try Self.state(model, batch, seed: 2))
        let (h, reference) = (try values(model, own).map(Double.init), try values(model, other).map(Double.init))
        let rows = [0, 2, 6]
        let weights: [Float] = [0.5, -2, 1]
        let found = try model.headPullback(own, Self.objective(name, other), at: rows, weights: weights)

        func loss(_ h: [Double], _ row: Int) throws -> Double {
            let own = row * Self.width..<(row + 1) * Self.width
            let q = logSoftmax(try logits(model, Array(h[own])))
            let p = softmax(try logits(model, Array(reference[own])))
            return switch name {
            case "kl": relativeEntropy(of: p, from: q.map { exp($0) })
            case "js": jensenShannon(p, q.map { exp($0) })
            default: -q[Int(batch.data.tokens[row + 1])]
            }
        }
        for (found, row) in zip(found.losses, rows) {
            let wanted = try loss(h, row)
            #expect(abs(Double(found) - wanted) < 1e-6 * (1 + wanted))
        }
        var wanted = [Float](repeating: 0, count: h.count)
        let step = 1e-5
        for (row, weight) in zip(rows, weights) {
            for place in row * Self.width..<(row + 1) * Self.width {
                let sides = try [step, -step].map { step in
                    var moved = h
                    moved[place] += step
                    return try loss(moved, row)
                }
                wanted[place] = weight * Float((sides[0] - sides[1]) / (2 * step))
            }
        }
        let gradient = try values(model, found.gradient)
        #expect(relativeDifference(gradient, wanted) < 1e-5)
        for place in wanted.indices where wanted[place] == 0 { #expect(gradient[place] == 0) }
    }

    @Test(arguments: computeTypes)
    func lossesAreThoseOfEvaluation(_ compute: ComputeType) throws {
        let model = try Self.model(vocabulary: 5000, compute)
        let batch = try Self.batch([40, 2, 9], vocabulary: 5000)
        let (own, other) = (try Self.state(model, batch, seed: 1), try Self.state(model, batch, seed: 2))
        let rows = batch.predictingRows(weighted: false)
        let wanted = [
            try model.losses(own, at: rows, of: batch.followers(of: rows)),
            try model.distances(own, to: other, .kl, at: rows), try model.distances(own, to: other, .js, at: rows),
        ]
        for (name, wanted) in zip(Self.objectives, wanted) {
            let found = try model.headPullback(own, Self.objective(name, other), at: rows, weights: rows.map { _ in 1 })
            for (a, b) in zip(found.losses, wanted) { #expect(abs(a - b) <= 3e-6 * max(1, abs(b))) }
        }
    }

    @Test(.enabled(if: ComputeType.bfloat16.isSupported), arguments: objectives)
    func headPullbacksInBFloat16AreNearFloat32(_ name: String) throws {
        // More entries than are packed at a time, and an odd number.
        let vocabulary = 4133
        let batch = try Self.batch([70, 33], vocabulary: vocabulary)
        let gradients = try [ComputeType.bfloat16, .float32].map { compute in
            let model = try Self.model(vocabulary: vocabulary, compute)
            let (own, other) = (try Self.state(model, batch, seed: 1), try Self.state(model, batch, seed: 2))
            let rows = batch.predictingRows(weighted: false)
            let found = try model.headPullback(
                own, Self.objective(name, other), at: rows, weights: Self.weights(rows.count).map { $0 / 2048 })
            return try values(model, found.gradient)
        }
        #expect(relativeDifference(gradients[0], gradients[1]) < 1e-2)
    }

    @Test(arguments: computeTypes, objectives)
    func rowsAreAsAloneWhereverTheyAreCut(_ compute: ComputeType, _ name: String) throws {
        // More rows than logits are made of at a time in fp32.
        let model = try Self.model(vocabulary: 67, compute)
        let batch = try Self.batch([1500], vocabulary: 67)
        let (own, other) = (try Self.state(model, batch, seed: 1), try Self.state(model, batch, seed: 2))
        let objective = Self.objective(name, other)
        let rows = Array(0..<1499)
        let weights = Self.weights(rows.count)
        let whole = try model.headPullback(own, objective, at: rows, weights: weights)
        var losses: [Float] = []
        var sum = [Float](repeating: 0, count: 1500 * Self.width)
        for part in [0..<600, 600..<1499] {
            let found = try model.headPullback(own, objective, at: Array(rows[part]), weights: Array(weights[part]))
            losses += found.losses
            sum = zip(sum, try values(model, found.gradient)).map(+)
        }
        #expect(zip(whole.losses, losses).allSatisfy { abs($0 - $1) < 1e-6 * max(1, $1) })
        #expect(relativeDifference(try values(model, whole.gradient), sum) < 1e-6)
    }

    @Test(arguments: computeTypes)
    func distancesOfEqualStatesHaveNoGradient(_ compute: ComputeType) throws {
        let model = try Self.model(vocabulary: 301, compute)
        let batch = try Self.batch([40], vocabulary: 301)
        let (own, same) = (try Self.state(model, batch, seed: 1), try Self.state(model, batch, seed: 1))
        for name in ["kl", "js"] {
            let found = try model.headPullback(
                own, Self.objective(name, same), at: Array(0..<40), weights: Self.weights(40))
            #expect(found.losses.allSatisfy { $0 < 1e-6 })
            #expect(try values(model, found.gradient).allSatisfy { abs($0) < 1e-6 })
        }
    }

    @Test func headPullbacksRefuseRowsAndTokensOutOfRange() throws {
        let model = try Self.model(vocabulary: 67)
        let batch = try Self.batch([3, 2], vocabulary: 67)
        let beyond = try TokenData(tokens: [0, 67], lengths: [2], weights: nil)
        let own = try Self.state(model, batch, seed: 1)
        let other = try Self.state(model, try Self.batch([3, 2], vocabulary: 67), seed: 1)
        func refused(
            _ state: any HiddenState, _ objective: HeadObjective, _ rows: [Int], _ weights: [Float],
            sourceLocation: SourceLocation = #_sourceLocation
        ) {
            expectFault(.internal, sourceLocation: sourceLocation) {
                _ = try model.headPullback(state, objective, at: rows, weights: weights)
            }
        }
        refused(own, .kl(other), [0], [1])
        refused(own, .crossEntropy, [], [])
        refused(own, .crossEntropy, [0, 1], [1])
        refused(own, .crossEntropy, [1, 0], [1, 1])
        refused(own, .crossEntropy, [1, 1], [1, 1])
        refused(own, .crossEntropy, [-1], [1])
        refused(own, .js(own), [5], [1])
        refused(own, .crossEntropy, [2], [1])
        refused(own, .crossEntropy, [4], [1])
        // `start` would refuse the token already.
        let forged = NativeState(TokenBatch(beyond, 0..<1), try model.scratch.buffer(2 * Self.width), before: 0)
        forged.values.pointer.update(repeating: 0.5, count: 2 * Self.width)
        refused(forged, .crossEntropy, [0], [1])
    }

    @Test(arguments: computeTypes, objectives)
    func statesThatAreNotFiniteShowInTheLoss(_ compute: ComputeType, _ name: String) throws {
        let model = try Self.model(vocabulary: 67, compute)
        let batch = try Self.batch([8], vocabulary: 67)
        let other = try Self.state(model, batch, seed: 2)
        for bad in [Float.nan, .infinity] {
            let own = try model.write(like: model.start(batch)) { (values) throws(PruneError) in
                for index in 0..<values.count { values[index] = index == 3 * Self.width ? bad : 0.5 }
            }
            let found = try model.headPullback(
                own, Self.objective(name, other), at: Array(0..<7), weights: Self.weights(7))
            #expect(found.losses.indices.filter { !found.losses[$0].isFinite } == [3])
        }
    }
}

/// Results by head gradients that must not depend on the number of threads, which is the process's.
@Suite(.serialized) struct HeadGradientThreadTests {
    @Test(arguments: HeadGradientTests.computeTypes)
    func headPullbacksDoNotDependOnThreads(_ compute: ComputeType) throws {
        let vocabulary = 4133
        let model = try HeadGradientTests.model(vocabulary: vocabulary, compute)
        let batch = try HeadGradientTests.batch([150, 33], vocabulary: vocabulary)
        let own = try HeadGradientTests.state(model, batch, seed: 1)
        let other = try HeadGradientTests.state(model, batch, seed: 2)
        let rows = batch.predictingRows(weighted: false)
        defer { ThreadPool.threads = 0 }
        for name in HeadGradientTests.objectives {
            let found = try [1, 2, 3].map { threads in
                ThreadPool.threads = threads
                let found = try model.headPullback(
                    own, HeadGradientTests.objective(name, other), at: rows,
                    weights: HeadGradientTests.weights(rows.count))
                return (found.losses, try HeadGradientTests().values(model, found.gradient))
            }
            #expect(found.allSatisfy { $0 == found[0] })
        }
    }
}
