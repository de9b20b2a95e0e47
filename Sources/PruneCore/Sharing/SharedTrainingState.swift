// SPDX-License-Identifier: Apache-2.0
/// A delta under training, in fp32: U, outputs x rank, and V, rank x inputs, after it.
struct TrainedDelta: Sendable {
    var parameters: [Float]
    /// Those of the lowest held-out loss.
    var best: [Float]
    var moments: GradientMoments
    /// Steps in which it moved: those in which its sublayer computed with it.
    var moves = 0

    init(_ parameters: [Float]) {
        self.parameters = parameters
        best = parameters
        moments = GradientMoments(count: parameters.count)
    }
}

/// All that moves while deltas are trained: what a checkpoint holds.
struct SharedTrainingState: Sendable {
    /// By name of the weight.
    var deltas: [String: TrainedDelta]
    /// Of the best deltas; its `steps`, `trainedTokens` and `seconds` are of the whole training so far.
    var report: RecoveryReport
    /// Sequences trained on, repetitions counted.
    var sequencesUsed = 0
    var lossSinceLook = 0.0
    var lastLoss = Double.nan
    var stepsSinceLook = 0
    var looksSinceBest = 0

    var names: [String] { deltas.keys.sorted() }

    /// Notes a look at the held-out loss, and keeps the deltas if it is the lowest so far. Errors: `.memory`, which changes
    /// nothing.
    mutating func look(_ loss: Double) throws(PruneError) {
        try report.history.makeRoom(for: 1, of: "the history of the training", "evaluate less often")
        if report.history.isEmpty { report.heldOutBefore = loss }
        report.history.append(
            TrainingRecord(
                step: report.steps, loss: stepsSinceLook == 0 ? .nan : lossSinceLook / Double(stepsSinceLook),
                heldOutLoss: loss))
        lossSinceLook = 0
        stepsSinceLook = 0
        guard report.heldOutBest.map({ loss < $0 }) ?? true else {
            looksSinceBest += 1
            return
        }
        for name in names {
            guard let moved = deltas[name]?.parameters else { continue }
            deltas[name]?.best = moved
        }
        report.heldOutBest = loss
        report.bestStep = report.steps
        looksSinceBest = 0
    }
}

extension SharedTrainingState {
    private static let mark = "PRUNSHAR"
    private static let version: UInt32 = 1
    private static let name = "checkpoint of a training of deltas"
    /// Bytes of a file at most, so that a wrong path is not read for minutes.
    private static let limit = 1 << 36

    /// Errors: `.file`. What was there before stays then.
    func write(_ fingerprint: UInt64, to path: String) throws(PruneError) {
        let parameters = deltas.values.reduce(0) { $0 + $1.parameters.count }
        try Memory.require(
            48 * parameters + 96 * report.history.count, for: "the checkpoint of \(parameters) parameters",
            "train without a checkpoint")
        var out = ByteWriter(mark: Self.mark, version: Self.version)
        out.add(fingerprint)
        out.add(report)
        for count in [sequencesUsed, stepsSinceLook, looksSinceBest] { out.add(UInt64(count)) }
        out.add(lossSinceLook)
        out.add(lastLoss)
        for name in names {
            guard let delta = deltas[name] else { continue }
            out.add(UInt64(delta.moves))
            for values in [delta.parameters, delta.best, delta.moments.first, delta.moments.second] { out.add(values) }
        }
        out.seal()
        try AtomicFile.write(out.bytes, to: path)
    }

    /// The state that a file holds, of a training that starts as this one does; nil if there is no such file.
    ///
    /// Errors: `.file`; `.format` if it is damaged or of another training; `.unsupported` for another version.
    func continued(_ fingerprint: UInt64, from path: String) throws(PruneError) -> SharedTrainingState? {
        guard MappedFile.exists(path) else { return nil }
        let bytes = try MappedFile.read(path, limit: Self.limit)
        do throws(PruneError) { return try decoded(bytes, fingerprint) } catch {
            throw PruneError(error.kind, "\(path): \(error.message)")
        }
    }

    private func decoded(_ bytes: [UInt8], _ fingerprint: UInt64) throws(PruneError) -> SharedTrainingState {
        var reader = try ByteReader(bytes, mark: Self.mark, version: Self.version, name: Self.name)
        guard try reader.next() == fingerprint else {
            throw PruneError(
                .format,
                "the checkpoint is of another training: model, mask, data or options differ; give another path, or delete it"
            )
        }
        var state = self
        state.report = try reader.report()
        state.sequencesUsed = try reader.count()
        state.stepsSinceLook = try reader.count()
        state.looksSinceBest = try reader.count()
        state.lossSinceLook = try reader.double()
        state.lastLoss = try reader.double()
        for name in names {
            let count = deltas[name]?.parameters.count ?? 0
            let moves = try reader.count()
            var delta = TrainedDelta(try reader.floats(count))
            delta.moves = moves
            delta.best = try reader.floats(count)
            delta.moments = GradientMoments(first: try reader.floats(count), second: try reader.floats(count))
            guard delta.parameters.allSatisfy(\.isFinite), delta.best.allSatisfy(\.isFinite) else {
                throw reader.damaged("the delta of \(name.quoted) has a value that is not finite")
            }
            state.deltas[name] = delta
        }
        guard reader.isAtEnd else { throw reader.damaged("bytes follow the end") }
        return state
    }
}
