// SPDX-License-Identifier: Apache-2.0
@testable import PruneCore

/// A healing of a small model on random text, which tests change and run.
struct HealingCase {
    var model: any Model
    var mask = KeepMask(blocks: 2).removing(unit: 2, .sublayer)
    var options = HealingOptions()
    var teacher: (any Model)?
    let data = try! HealingCase.text(seed: 3, sequences: 12)
    let heldOut = try! HealingCase.text(seed: 4, sequences: 3)

    init(_ model: any Model) {
        self.model = model
        options.train = "all"
        options.steps = 8
        options.batchSequences = 3
        options.learningRate = 1e-2
        options.evaluateEvery = 2
        options.seed = 7
    }

    /// Sequences of different lengths that a model can learn: the next token is the one before, one further.
    static func text(seed: UInt64, sequences: Int) throws -> TokenData {
        var random = RandomSource(seed: seed, stream: 0)
        var tokens: [Int32] = []
        var lengths: [Int] = []
        for index in 0..<sequences {
            let first = Int32(random.index(below: 32))
            lengths.append(3 + index % 4)
            tokens += (0..<Int32(3 + index % 4)).map { (first + $0) % 32 }
        }
        let weights = tokens.indices.map { Float($0 % 3) / 2 + 0.25 }
        return try TokenData(tokens: tokens, lengths: lengths, weights: weights)
    }

    func run(_ step: ((TrainingProgress) -> Bool)? = nil) throws -> Healed {
        try heal(model, data, heldOut: heldOut, under: mask, options, teacher: teacher, step: step)
    }

    /// The numbers of all tensors that a healing trained.
    static func values(_ healed: Healed) -> [[UInt8]] {
        let native = (healed.model as? RecoveredModel)?.base as? NativeModel ?? healed.model as? NativeModel
        guard let weights = native?.weights else { return [] }
        let tensors =
            weights.embeddingTensors + weights.sublayers.flatMap(\.tensors) + weights.headTensors + [
                weights.head.tensor
            ]
        return tensors.filter { $0.owner is TensorMemory }.map { Array($0.bytes) }
    }

    /// What is left of a report without the clock; nan, which is not equal to itself, is -1.
    static func timeless(_ report: HealingReport) -> HealingReport {
        var report = report
        report.seconds = 0
        report.history = report.history.map {
            HealingRecord(
                step: $0.step, learningRate: $0.learningRate.isNaN ? -1 : $0.learningRate,
                loss: $0.loss.isNaN ? -1 : $0.loss, heldOutLoss: $0.heldOutLoss)
        }
        return report
    }
}
