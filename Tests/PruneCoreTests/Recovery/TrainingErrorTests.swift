// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

@Suite struct TrainingErrorTests {
    let directory = try! TemporaryDirectory()

    @Test func optionsOutOfRangeAreNamed() throws {
        let own = try TrainingCase()
        let faults: [(String, (inout TrainingCase) -> Void)] = [
            ("steps", { $0.training.steps = 0 }), ("steps", { $0.training.steps = .max }),
            ("step_tokens", { $0.training.stepTokens = 0 }), ("warmup_steps", { $0.training.warmupSteps = -1 }),
            ("learning_rate", { $0.training.learningRate = 0 }), ("learning_rate", { $0.training.learningRate = .nan }),
            ("weight_decay", { $0.training.weightDecay = -1 }), ("clip_norm", { $0.training.clipNorm = .infinity }),
            ("evaluate_every", { $0.training.evaluateEvery = 0 }), ("patience", { $0.training.patience = 0 }),
            ("checkpoint_every", { $0.training.checkpointEvery = -3 }),
            ("objective", { $0.training.objective = .closedForm }),
            ("rank", { $0.options.rank = 0 }), ("rank", { $0.options.rank = 7 }), ("rank", { $0.options.rank = nil }),
            ("held_out_share", { $0.options.heldOutShare = 1 }), ("held_out_share", { $0.options.heldOutShare = .nan }),
            ("batches of 0", { $0.options.batchTokens = 0 }), ("ridge", { $0.options.ridge = -1 }),
        ]
        for (name, change) in faults {
            var other = own
            change(&other)
            expectFault(.argument, naming: name) { _ = try other.run() }
        }
    }

    @Test func maskModelAndAdaptersMustFit() throws {
        var own = try TrainingCase()
        let adapters = try own.randomAdapters()
        own.mask = KeepMask(blocks: 3)
        expectFault(.argument, naming: "removes nothing") { _ = try own.run() }
        own.mask = KeepMask(blocks: 2)
        expectFault(.argument, naming: "4", "6") { _ = try own.run() }
        own.mask = KeepMask(blocks: 3).removing(unit: 3, .sublayer)
        expectFault(.argument, naming: "another mask", "attn.1", "ffn.1") {
            _ = try recover(
                own.model, own.data, under: own.mask, own.options, initial: adapters, training: own.training)
        }
        own = try TrainingCase()
        expectFault(.argument, naming: "trained") {
            _ = try recover(own.model, own.data, under: own.mask, own.options, initial: adapters)
        }
        own.model = CurvedModel(hasGradients: false)
        expectFault(.unsupported, naming: "gradients") { _ = try own.run() }
    }

    @Test func thereMustBeSomethingToPredict() throws {
        var own = try TrainingCase()
        let empty = try TokenData(tokens: [1, 2, 3], lengths: [1, 1, 1], weights: nil)
        let one = try TokenData(tokens: [1, 2, 3, 4], lengths: [1, 3], weights: nil)
        let weightless = try TokenData(tokens: [1, 2, 3, 4], lengths: [2, 2], weights: [1, 0, 1, 0])
        for data in [empty, one, weightless] {
            own.data = data
            expectFault(.data, naming: "held_out") { _ = try own.run() }
        }
        for (data, heldOut) in [(empty, one), (one, empty), (weightless, one)] {
            expectFault(.data, naming: "nothing to predict") {
                _ = try recover(own.model, data, heldOut: heldOut, under: own.mask, own.options, training: own.training)
            }
        }
        own.data = try TokenData(tokens: [1, 99], lengths: [2], weights: nil)
        expectFault(.data, naming: "99", "position 1") { _ = try own.run() }
    }

    @Test func twoSequencesAreEnoughToTrain() throws {
        var own = try TrainingCase()
        own.data = try TokenData(tokens: [1, 2, 3, 4, 5], lengths: [2, 3], weights: nil)
        #expect(try own.run().report.steps == 40)
        let parts = try own.data.split(share: 0.99, seed: 1)
        #expect(parts.rest.sequenceCount == 1 && parts.heldOut.sequenceCount == 1)
    }

    @Test func nonFiniteLossesNameStepAndPlace() throws {
        var own = try TrainingCase(removing: [2])
        own.model = CurvedModel(brokenToken: 8)
        let good = try TokenData(tokens: Array(0..<8), lengths: [8], weights: nil)
        // Sequence 2 of five has the token.
        let data = try TokenData(
            tokens: (0..<5).flatMap { [1, 2, $0 == 2 ? 8 : 3, 4] }, lengths: [4, 4, 4, 4, 4], weights: nil)
        own.training.stepTokens = 4
        own.training.checkpoint = directory.file("training")
        own.training.checkpointEvery = 1
        var last = 0
        expectFault(.nonFinite, naming: "training step", "ffn.0", "sequence 2, position 2") {
            _ = try recover(
                own.model, data, heldOut: good, under: own.mask, own.options, training: own.training,
                step: {
                    last = $0.step
                    return false
                })
        }
        // The last good state is there.
        let print = try TrainingFingerprint(
            own.model, data, heldOut: good, own.mask, own.options, own.training, initial: nil
        ).value
        let layout = TrainingCheckpoint.Layout(hiddenSize: 6, mask: own.mask)
        let state = try TrainingCheckpoint.read(directory.file("training"), print, layout)
        #expect(state?.report.steps == last)
        own.training.checkpoint = nil
        expectFault(.nonFinite, naming: "held-out", "ffn.0") {
            _ = try recover(own.model, good, heldOut: data, under: own.mask, own.options, training: own.training)
        }
    }

    @Test func ratesThatBlowItUpEndWithAnError() throws {
        var own = try TrainingCase()
        own.options.kind = .linear
        own.training.learningRate = 1e30
        own.training.clipNorm = nil
        expectFault(.nonFinite, naming: "learning rate") { _ = try own.run() }
    }
}
