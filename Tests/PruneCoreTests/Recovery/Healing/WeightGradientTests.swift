// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

/// Gradients with respect to every tensor of models of every family, against finite differences of what the models compute.
@Suite struct WeightGradientTests {
    /// A pass through a model all of whose tensors are trained, and the tensors.
    struct Trained {
        let pass: HealingPass
        let tensors: WholeTensors
        let batch: TokenBatch

        init(_ model: NativeModel, _ objective: RecoveryObjective = .crossEntropy, without removed: [Int] = []) throws {
            let mask = model.shape.present(in: KeepMask(blocks: 2).removing(units: removed, .sublayer))
            let given = try HealedModel(model, under: mask, as: "the model")
            let found = try TrainedTensors(model, TrainedNames("all", under: mask), untie: false, under: mask)
            tensors = try WholeTensors(found.stored, compute: model.compute)
            pass = HealingPass(
                student: given.with(try model.replacing(tensors.tensors)),
                teacher: objective == .crossEntropy
                    ? nil : try HealedModel(model, under: KeepMask(blocks: 2), as: "the teacher"),
                objective: objective, sharesWeights: true, lowest: found.lowest,
                reachesEmbedding: found.reachesEmbedding)
            let data = try TokenData(
                tokens: [9, 1, 5, 9, 2, 12, 3], lengths: [5, 2], weights: [1, 0.5, 1, 2, 1, 1, 0.25])
            batch = TokenBatch(data, 0..<2)
        }

        func gradients() throws -> [[Float]] {
            let sums = try TensorGradients(tensors.tensors)
            _ = try pass.addGradients(batch, to: sums)
            return sums.sums.map { Array(UnsafeBufferPointer(start: $0.pointer, count: $0.count)) }
        }

        /// The objective's sum where a tensor is moved.
        func value(moving index: Int, by direction: [Float], _ step: Float) throws -> Double {
            let values = tensors.parameters[index].values.pointer
            let before = Array(UnsafeBufferPointer(start: values, count: direction.count))
            for place in direction.indices { values[place] += step * direction[place] }
            try tensors.write(for: .look)
            let value = try pass.value(try pass.fixed(batch)).sum
            values.update(from: before, count: before.count)
            try tensors.write(for: .look)
            return value
        }
    }

    /// The slope along the gradient of each tensor is the gradient's length.
    private func checkGradients(_ trained: Trained, tolerance: Double) throws {
        let gradients = try trained.gradients()
        for (index, gradient) in gradients.enumerated() {
            let name = trained.tensors.parameters[index].name
            let length = gradient.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
            // Keys' biases, for instance, change nothing.
            let direction =
                length > 1e-3
                ? gradient.map { $0 / Float(length) }
                : GradientTests.values(gradient.count, seed: 3).map { $0 / Float(gradient.count).squareRoot() }
            let expected = zip(gradient, direction).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
            let step: Float = 0.01
            func difference(_ step: Float) throws -> Double {
                try trained.value(moving: index, by: direction, step)
                    - trained.value(moving: index, by: direction, -step)
            }
            let slope = (8 * (try difference(step)) - (try difference(2 * step))) / (12 * Double(step))
            #expect(abs(slope - expected) <= tolerance * (length + 0.05), "\(name): \(slope), not \(expected)")
        }
    }

    @Test(arguments: FamilyVariant.all)
    func gradientsOfEveryTensorAgreeWithFiniteDifferences(_ variant: FamilyVariant) throws {
        let model = try variant.model(.float32, ["num_experts_per_tok": "3"])
        let hasCorners =
            ["OPTForCausalLM", "Exaone4ForCausalLM"].contains(variant.name) || variant.changes["clip_qkv"] != nil
        try checkGradients(try Trained(model), tolerance: hasCorners ? 6e-2 : 1e-2)
    }

    @Test(arguments: [RecoveryObjective.kl, .js], [[2], [0, 1]])
    func gradientsBesideATeacherAgreeWithFiniteDifferences(_ objective: RecoveryObjective, _ removed: [Int]) throws {
        try checkGradients(
            try Trained(try randomModel("Qwen3ForCausalLM"), objective, without: removed), tolerance: 1e-2)
    }

    @Test(.enabled(if: BFloat16Product.isSupported, "this CPU has no bf16 instructions"), arguments: FamilyVariant.all)
    func gradientsInBFloat16AreNearFloat32(_ variant: FamilyVariant) throws {
        let found = try [ComputeType.float32, .bfloat16].map { compute in
            try Trained(try variant.model(compute, ["num_experts_per_tok": "3"])).gradients().flatMap { $0 }
        }
        let difference = zip(found[0], found[1]).reduce(0.0) { $0 + Double(($1.0 - $1.1) * ($1.0 - $1.1)) }
        let size = found[0].reduce(0.0) { $0 + Double($1 * $1) }
        #expect(found[0] != found[1])
        #expect(difference.squareRoot() <= 8e-2 * size.squareRoot())
    }

    @Test(arguments: ComputeType.allCases.filter(\.isSupported))
    func gradientsDoNotDependOnThreads(_ compute: ComputeType) throws {
        defer { ThreadPool.threads = 0 }
        let trained = try Trained(
            try randomModel("Qwen3ForCausalLM", ["attention_bias": "true"], compute: compute), .kl)
        ThreadPool.threads = 1
        let alone = try trained.gradients()
        for threads in 2...3 {
            ThreadPool.threads = threads
            #expect(try trained.gradients() == alone)
        }
    }
}
