// SPDX-License-Identifier: Apache-2.0
/// The state of a training as a file: a mark, a version, the training it is of, the state, and a checksum.
enum TrainingCheckpoint {
    private static let mark = "PRUNTRAI"
    private static let version: UInt32 = 1
    private static let name = "checkpoint of a training"
    /// Bytes of a file at most, so that a wrong path is not read for minutes.
    private static let limit = 1 << 36

    /// - Parameter fingerprint: see `TrainingFingerprint`.
    /// Errors: `.file`. What was there before stays then.
    static func write(_ state: TrainingState, _ fingerprint: UInt64, to path: String) throws(PruneError) {
        try AtomicFile.write(encode(state, fingerprint), to: path)
    }

    /// nil if there is no such file.
    ///
    /// Errors: `.file`; `.format` if it is damaged or of another training; `.unsupported` for another version.
    static func read(_ path: String, _ fingerprint: UInt64, _ start: Layout) throws(PruneError) -> TrainingState? {
        guard MappedFile.exists(path) else { return nil }
        let bytes = try MappedFile.read(path, limit: limit)
        do throws(PruneError) { return try decode(bytes, fingerprint, start) } catch {
            throw PruneError(error.kind, "\(path): \(error.message)")
        }
    }

    /// What adapters of a training must look like, whatever a file says.
    struct Layout {
        let hiddenSize: Int
        let mask: KeepMask
    }

    static func encode(_ state: TrainingState, _ fingerprint: UInt64) -> [UInt8] {
        var out = ByteWriter(mark: mark, version: version)
        out.add(fingerprint)
        out.add(state.report)
        out.add(UInt64(state.sequencesUsed))
        out.add(state.lossSinceLook)
        out.add(state.lastLoss)
        out.add(UInt64(state.stepsSinceLook))
        out.add(UInt64(state.looksSinceBest))
        out.add(UInt64(state.adapters.count))
        for sublayer in state.sublayers {
            guard let adapter = state.adapters[sublayer], let best = state.best[sublayer],
                let moments = state.moments[sublayer]
            else { continue }
            out.add(UInt64(sublayer))
            out.addShape(of: adapter)
            for values in [adapter.parameters, best.parameters, moments.first, moments.second] { out.add(values) }
        }
        out.seal()
        return out.bytes
    }

    static func decode(_ bytes: [UInt8], _ fingerprint: UInt64, _ layout: Layout) throws(PruneError) -> TrainingState {
        var reader = try ByteReader(bytes, mark: mark, version: version, name: name)
        guard try reader.next() == fingerprint else {
            throw PruneError(
                .format,
                "the checkpoint is of another training: model, mask, data or options differ; give another path, or delete it"
            )
        }
        let report = try reader.report()
        let sequencesUsed = try reader.count()
        let lossSinceLook = try reader.double()
        let lastLoss = try reader.double()
        let stepsSinceLook = try reader.count()
        let looksSinceBest = try reader.count()
        var adapters: [Int: Adapter] = [:]
        var best: [Int: Adapter] = [:]
        var moments: [Int: GradientMoments] = [:]
        for _ in 0..<(try reader.count()) {
            let sublayer = try reader.count()
            guard layout.mask.keeps.indices.contains(sublayer), !layout.mask.keeps(sublayer), adapters[sublayer] == nil
            else { throw reader.damaged("an adapter stands at sublayer \(sublayer)") }
            var adapter = try reader.adapterShape(width: layout.hiddenSize)
            let count = Adapter.parameterCount(adapter.kind, width: adapter.width, rank: adapter.rank)
            adapter.parameters = try reader.floats(count)
            adapters[sublayer] = adapter
            adapter.parameters = try reader.floats(count)
            best[sublayer] = adapter
            guard adapters[sublayer]?.parameters.allSatisfy(\.isFinite) ?? true,
                adapter.parameters.allSatisfy(\.isFinite), adapter.norm?.gain.allSatisfy(\.isFinite) ?? true,
                adapter.norm?.bias?.allSatisfy(\.isFinite) ?? true,
                adapter.norm?.epsilon.isFinite ?? true
            else { throw reader.damaged("the adapter of \(sublayerName(sublayer)) has a value that is not finite") }
            moments[sublayer] = GradientMoments(first: try reader.floats(count), second: try reader.floats(count))
        }
        guard reader.isAtEnd else { throw reader.damaged("bytes follow the end") }
        var state = TrainingState(
            AdapterSet(mask: layout.mask, adapters: adapters, weightSample: [], hiddenSize: layout.hiddenSize),
            report.objective)
        state.best = best
        state.moments = moments
        state.report = report
        state.sequencesUsed = sequencesUsed
        state.lossSinceLook = lossSinceLook
        state.lastLoss = lastLoss
        state.stepsSinceLook = stepsSinceLook
        state.looksSinceBest = looksSinceBest
        return state
    }
}

extension ByteWriter {
    /// All of an adapter but its parameters.
    mutating func addShape(of adapter: Adapter) {
        add(UInt32(bitPattern: adapter.kind.rawValue))
        add(UInt64(adapter.rank))
        add(normByte(adapter.norm))
        guard let norm = adapter.norm else { return }
        add(norm.epsilon.bitPattern)
        add(norm.gain)
        if let bias = norm.bias { add(bias) }
    }

    mutating func add(_ report: RecoveryReport) {
        add(UInt32(bitPattern: report.objective.rawValue))
        for count in [report.statisticsTokens, report.trainedTokens, report.steps, report.bestStep] {
            add(UInt64(count))
        }
        for loss in [report.heldOutBefore, report.heldOutBest] { add(loss ?? .nan) }
        add(report.seconds)
        for values in [report.ridges, report.explained] {
            add(UInt64(values.count))
            for (sublayer, value) in values.sorted(by: { $0.key < $1.key }) {
                add(UInt64(sublayer))
                add(value)
            }
        }
        add(UInt64(report.history.count))
        for record in report.history {
            add(UInt64(record.step))
            add(record.loss)
            add(record.heldOutLoss)
        }
    }
}

extension ByteReader {
    /// An adapter of zeros without room for its parameters. Errors: `.format`.
    fileprivate mutating func adapterShape(width: Int) throws(PruneError) -> Adapter {
        let rawKind: UInt32 = try next()
        let rank = try count()
        let hasNorm: UInt8 = try next()
        guard let kind = AdapterKind(rawValue: Int32(bitPattern: rawKind)), hasNorm <= 4,
            kind == .lowRank ? (1...width).contains(rank) : rank == 0, rest / 4 >= rank
        else { throw damaged("an adapter has kind \(rawKind) and rank \(rank)") }
        var norm: InputNorm?
        if hasNorm > 0 {
            let epsilon = Float(bitPattern: try next())
            let gain = try floats(width)
            norm = InputNorm(
                hasNorm > 2 ? .layer : .rootMeanSquare, gain: gain, bias: hasNorm % 2 == 0 ? try floats(width) : nil,
                epsilon: epsilon)
        }
        return Adapter(kind, width: width, rank: rank, norm: norm)
    }

    mutating func report() throws(PruneError) -> RecoveryReport {
        var report = RecoveryReport()
        let rawObjective: UInt32 = try next()
        guard let objective = RecoveryObjective(rawValue: Int32(bitPattern: rawObjective)) else {
            throw damaged("objective \(rawObjective) is unknown")
        }
        report.objective = objective
        report.statisticsTokens = try count()
        report.trainedTokens = try count()
        report.steps = try count()
        report.bestStep = try count()
        let before = try double()
        let best = try double()
        report.heldOutBefore = before.isNaN ? nil : before
        report.heldOutBest = best.isNaN ? nil : best
        report.seconds = try double()
        report.ridges = try bySublayer()
        report.explained = try bySublayer()
        for _ in 0..<(try count()) {
            report.history.append(
                TrainingRecord(step: try count(), loss: try double(), heldOutLoss: try double()))
        }
        return report
    }

    private mutating func bySublayer() throws(PruneError) -> [Int: Double] {
        var values: [Int: Double] = [:]
        for _ in 0..<(try count()) { values[try count()] = try double() }
        return values
    }
}

/// 0 = no norm; 1 a root-mean-square norm, 3 a layer norm; one more if it has a bias.
private func normByte(_ norm: InputNorm?) -> UInt8 {
    guard let norm else { return 0 }
    return (norm.kind == .layer ? 3 : 1) + (norm.bias == nil ? 0 : 1)
}
