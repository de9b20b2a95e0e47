// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

@Suite struct HealingTests {
    static let types = ComputeType.allCases.filter(\.isSupported)
    static let objectives: [RecoveryObjective] = [.crossEntropy, .kl, .js]
    let directory = try! TemporaryDirectory()

    @Test(arguments: types, objectives)
    func healingLowersTheHeldOutLossAndReportsThatOfItsModel(
        _ compute: ComputeType, _ objective: RecoveryObjective
    ) throws {
        var own = HealingCase(try randomModel("Qwen3ForCausalLM", compute: compute))
        own.options.objective = objective
        let healed = try own.run()
        let report = healed.report
        #expect(report.lossAfter < report.lossBefore)
        #expect(report.steps == 8 && report.history.map(\.step) == [0, 2, 4, 6, 8])
        #expect(report.lossAfter == report.history.map(\.heldOutLoss).min())
        #expect(report.trainedParameters == HealingCase.count(healed))
        guard objective == .crossEntropy else { return }
        let found = try evaluate(healed.model, own.heldOut, under: [own.mask])[0]
        #expect(abs(found.loss - report.lossAfter) <= 1e-6 * report.lossAfter)
    }

    @Test(arguments: types)
    func weightsOutsideOfWhatIsTrainedStay(_ compute: ComputeType) throws {
        let model = try randomModel(compute: compute)
        var own = HealingCase(model)
        own.options.train = "head,final_norm,last:1"
        let healed = try own.run()
        let native = try #require(healed.model as? NativeModel)
        // Block 1 lost its attention: its feed-forward is what is left of it.
        #expect(native.weights.sublayers[0].tensors.allSatisfy { $0.owner is MappedFile })
        #expect(native.weights.sublayers[2].tensors.allSatisfy { $0.owner is MappedFile })
        #expect(native.weights.sublayers[3].tensors.allSatisfy { $0.owner is TensorMemory })
        #expect(native.weights.head.tensor.owner is TensorMemory)
        #expect(native.weights.embedding.tensor.owner is MappedFile)
    }

    @Test(arguments: types)
    func healingDoesNotDependOnThreads(_ compute: ComputeType) throws {
        defer { ThreadPool.threads = 0 }
        var own = HealingCase(try randomModel("Qwen3ForCausalLM", compute: compute))
        own.options.objective = .kl
        ThreadPool.threads = 1
        let alone = try own.run()
        for threads in 2...3 {
            ThreadPool.threads = threads
            let result = try own.run()
            #expect(HealingCase.values(result) == HealingCase.values(alone))
            #expect(HealingCase.timeless(result.report) == HealingCase.timeless(alone.report))
        }
    }

    @Test(arguments: types, [1, 3, 7])
    func aStoppedHealingResumesToTheSameBits(_ compute: ComputeType, _ stop: Int) throws {
        var own = HealingCase(try randomModel("Qwen3ForCausalLM", compute: compute))
        own.options.weightDecay = 0.1
        let whole = try own.run()
        own.options.checkpoint = directory.file("healing")
        expectFault(.cancelled, naming: "step \(stop) of 8") { _ = try own.run { $0.step == stop } }
        var first: Int?
        let result = try own.run {
            first = first ?? $0.step
            return false
        }
        #expect(first == stop + 1)
        #expect(HealingCase.values(result) == HealingCase.values(whole))
        #expect(HealingCase.timeless(result.report) == HealingCase.timeless(whole.report))
    }

    @Test func aCheckpointOfAnotherHealingOrADamagedOneIsRefused() throws {
        var own = HealingCase(try randomModel())
        own.options.checkpoint = directory.file("healing")
        _ = try own.run()
        let bytes = try MappedFile.read(directory.file("healing"), limit: 1 << 24)
        own.options.learningRate = 2e-2
        expectFault(.format, naming: "another training") { _ = try own.run() }
        own.options.learningRate = 1e-2
        for place in [3, 40, bytes.count / 2, bytes.count - 3] {
            var changed = bytes
            changed[place] ^= 16
            try directory.write("healing", changed)
            expectFault(.format, naming: "healing") { _ = try own.run() }
        }
        try directory.write("healing", Array(bytes.dropLast()))
        expectFault(.format, naming: "healing") { _ = try own.run() }
    }

    @Test func aTiedHeadIsUntiedOnRequestOrRefused() throws {
        let model = try randomModel("LlamaForCausalLM", ["tie_word_embeddings": "true"])
        var own = HealingCase(model)
        own.options.train = "head"
        expectFault(.argument, naming: "untie_head") { _ = try own.run() }
        own.options.untiesHead = true
        let healed = try own.run()
        let native = try #require(healed.model as? NativeModel)
        #expect(!native.shape.tiesEmbeddings && native.weights.embedding.tensor.owner is MappedFile)
        #expect(native.weights.head.tensor.owner is TensorMemory && healed.report.lossAfter < healed.report.lossBefore)
        own.options.train = "final_norm"
        expectFault(.argument, naming: "neither head nor embedding") { _ = try own.run() }
        own.options.untiesHead = false
        own.options.train = "all"
        let tied = try #require(try own.run().model as? NativeModel)
        let isOne = tied.weights.head.tensor.owner === tied.weights.embedding.tensor.owner
        #expect(isOne)
    }

    @Test(arguments: [
        ("attn.1", "attn.1, which the mask removes"), ("last:3", "keeps 2 blocks"), ("block.2", "has 2 blocks"),
        ("heads", "heads"), (" , ", "nothing"), ("last:0", "1 to 2"), ("ffn.x", "ffn.x"),
    ])
    func namesOfWhatIsNotThereAreRefused(_ train: String, _ text: String) throws {
        var own = HealingCase(try randomModel())
        own.options.train = train
        expectFault(.argument, naming: text) { _ = try own.run() }
    }

    @Test func optionsOutOfRangeAreRefused() throws {
        let changes: [(String, (inout HealingOptions) -> Void)] = [
            ("steps", { $0.steps = 0 }), ("batch_sequences", { $0.batchSequences = 0 }),
            ("learning_rate", { $0.learningRate = .nan }), ("weight_decay", { $0.weightDecay = -1 }),
            ("clip_norm", { $0.clipNorm = 0 }), ("mse", { $0.objective = .mse }),
            ("held_out_share", { $0.heldOutShare = 1 }),
        ]
        for (name, change) in changes {
            var own = HealingCase(try randomModel())
            change(&own.options)
            expectFault(.argument, naming: name) { _ = try own.run() }
        }
    }

    @Test func patienceEndsAHealingWithTheBestWeights() throws {
        var own = HealingCase(try randomModel())
        own.options.learningRate = 30
        own.options.schedule = .constant
        own.options.warmupSteps = 0
        own.options.evaluateEvery = 1
        own.options.patience = 2
        own.options.clipNorm = nil
        let healed = try own.run()
        #expect(healed.report.steps == healed.report.bestStep + 2)
        let found = try evaluate(healed.model, own.heldOut, under: [own.mask])[0]
        #expect(abs(found.loss - healed.report.lossAfter) <= 1e-6 * healed.report.lossAfter)
    }

    @Test(arguments: types)
    func withoutAMaskTheTeacherItselfHasNothingToLearn(_ compute: ComputeType) throws {
        var own = HealingCase(try randomModel(compute: compute))
        own.mask = KeepMask(blocks: 2)
        own.options.objective = .kl
        let report = try own.run().report
        #expect(report.lossBefore == 0 && report.bestStep == 0)
    }

    @Test func aTeacherOfAnotherShapeTeaches() throws {
        var own = HealingCase(try randomModel())
        own.options.objective = .js
        own.teacher = try randomModel("Qwen3ForCausalLM", ["num_hidden_layers": "3", "hidden_size": "16"])
        let report = try own.run().report
        #expect(report.lossAfter < report.lossBefore)
        own.teacher = try randomModel("Qwen3ForCausalLM", ["vocab_size": "40"])
        expectFault(.argument, naming: "vocabulary of 40") { _ = try own.run() }
    }

    @Test func adaptersStayWhileTheOthersAreTrained() throws {
        let model = try randomModel("Qwen3ForCausalLM")
        var recovery = AdapterOptions()
        recovery.rank = 2
        let own = HealingCase(model)
        let set = try recover(model, own.data, heldOut: own.heldOut, under: own.mask, recovery)
        var healing = HealingCase(try RecoveredModel(model, set))
        healing.mask = KeepMask(blocks: 2)
        let healed = try healing.run()
        let after = try #require(healed.model as? RecoveredModel)
        #expect(after.adapters.adapters == set.adapters)
        #expect(healed.report.lossAfter < healed.report.lossBefore)
        healing.options.train = "attn.1"
        expectFault(.argument, naming: "attn.1") { _ = try healing.run() }
    }

    @Test func aModelOfAHostIsRefused() throws {
        var own = HealingCase(CurvedModel(norm: .rootMeanSquare))
        own.mask = KeepMask(blocks: own.model.shape.blockCount)
        expectFault(.unsupported, naming: "host") { _ = try own.run() }
    }
}

extension HealingCase {
    /// Numbers of the tensors that lie in memory of the library's own.
    static func count(_ healed: Healed) -> Int {
        guard let weights = (healed.model as? NativeModel)?.weights else { return 0 }
        let tensors =
            weights.embeddingTensors + weights.sublayers.flatMap(\.tensors) + weights.headTensors
        return tensors.filter { $0.owner is TensorMemory }.reduce(0) { $0 + $1.elementCount }
    }
}
