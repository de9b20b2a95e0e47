// SPDX-License-Identifier: Apache-2.0
/// A number that tells trainings apart: two with the same one go the same way, step by step.
struct TrainingFingerprint {
    private var sum = ByteChecksum()
    var value: UInt64 { sum.value }

    /// - Parameter initial: adapters that training starts from; nil = as the options say.
    init(
        _ model: any Model, _ data: TokenData, heldOut: TokenData, _ mask: KeepMask, _ options: AdapterOptions,
        _ training: TrainingOptions, initial: AdapterSet?
    ) throws(PruneError) {
        var out = ByteWriter(mark: model.shape.architecture, version: 1)
        for size in [model.shape.blockCount, model.shape.hiddenSize, model.shape.vocabularySize] {
            out.add(Int64(size))
        }
        out.add(UInt8(model.compute == .float32 ? 0 : 1))
        out.add(try model.weightSample())
        for byte in mask.bytes { out.add(byte) }
        Self.add(options, to: &out)
        Self.add(training, to: &out)
        Self.add(initial, to: &out)
        // What the model itself has of them is part of what is learnt from.
        if let recovered = model as? RecoveredModel { Self.add(recovered.adapters, to: &out) }
        Self.add(data, to: &out)
        Self.add(heldOut, to: &out)
        sum.add(out.bytes[...])
    }

    /// Of a healing.
    ///
    /// - Parameter teacher: nil = the objective has none.
    init(
        _ model: any Model, _ data: TokenData, heldOut: TokenData, _ mask: KeepMask, _ options: HealingOptions,
        teacher: HealedModel?, _ trained: TrainedTensors
    ) throws(PruneError) {
        var out = ByteWriter(mark: model.shape.architecture, version: 2)
        for own in [model, teacher?.native as (any Model)?].compactMap(\.self) {
            for size in [own.shape.blockCount, own.shape.hiddenSize, own.shape.vocabularySize] { out.add(Int64(size)) }
            out.add(UInt8(own.compute == .float32 ? 0 : 1))
            out.add(try own.weightSample())
        }
        for byte in mask.bytes + (teacher?.mask.bytes ?? []) { out.add(byte) }
        for tensor in trained.stored {
            for byte in tensor.name.utf8 { out.add(byte) }
            out.add(Int64(tensor.elementCount))
            // Head, embedding and norms are none of the sample's.
            var first = [Float](repeating: 0, count: min(16, tensor.shape.last ?? 1))
            try reading(tensor.mappedFile.map { [$0] } ?? []) { () throws(PruneError) in
                first.withUnsafeMutableBufferPointer { first in
                    guard let base = tensor.bytes.baseAddress, let room = first.baseAddress else { return }
                    Kernels.widen(0..<first.count, ofRow: base, tensor.elementType, into: room)
                }
            }
            out.add(first)
        }
        for value in [options.objective.rawValue, options.schedule.rawValue, options.untiesHead ? 1 : 0] {
            out.add(value)
        }
        for value in [
            options.steps, options.batchSequences, options.warmupSteps ?? -1, options.lookInterval,
            options.patience ?? -1, options.batchTokens,
        ] { out.add(Int64(value)) }
        for value in [options.learningRate, options.weightDecay, options.clipNorm ?? 0] { out.add(value) }
        out.add(options.seed)
        if let recovered = model as? RecoveredModel { Self.add(recovered.adapters, to: &out) }
        Self.add(data, to: &out)
        Self.add(heldOut, to: &out)
        sum.add(out.bytes[...])
    }

    private static func add(_ adapters: AdapterSet?, to out: inout ByteWriter) {
        for sublayer in adapters?.sublayers ?? [] {
            guard let adapter = adapters?.adapters[sublayer] else { continue }
            out.add(Int64(sublayer))
            out.addShape(of: adapter)
            out.add(adapter.parameters)
        }
    }

    /// The memory budget is left out: it changes no result.
    private static func add(_ options: AdapterOptions, to out: inout ByteWriter) {
        for value in [options.kind.rawValue, options.stream.rawValue, options.blockSlot.rawValue] { out.add(value) }
        for value in [options.rank ?? -1, options.mostRank, options.normsInput ? 1 : 0, options.batchTokens] {
            out.add(Int64(value))
        }
        out.add(options.ridge ?? -1)
        out.add(options.heldOutShare)
        out.add(options.seed)
    }

    /// Where and how often checkpoints are written is left out.
    private static func add(_ options: TrainingOptions, to out: inout ByteWriter) {
        for value in [options.objective.rawValue, options.start.rawValue] { out.add(value) }
        for value in [
            options.steps, options.stepTokens, options.warmupSteps ?? -1, options.evaluateEvery ?? -1,
            options.patience ?? -1,
        ] { out.add(Int64(value)) }
        for value in [options.learningRate ?? -1, options.weightDecay, options.clipNorm ?? 0] { out.add(value) }
    }

    private static func add(_ data: TokenData, to out: inout ByteWriter) {
        out.add(Int64(data.sequenceCount))
        for offset in data.offsets { out.add(Int64(offset)) }
        for token in data.tokens { out.add(token) }
        out.add(UInt8(data.weights == nil ? 0 : 1))
        out.add(data.weights ?? [])
    }
}
