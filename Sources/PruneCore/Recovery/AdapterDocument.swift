// SPDX-License-Identifier: Apache-2.0
/// What is saved of adapters beside their numbers, as JSON:
///
///     {"format": "prunecore.adapters", "version": 1, "n_blocks": 12, "removed": ["attn.3"], "hidden_size": 128,
///      "tensors": {"file": "adapters.safetensors", "sha256": "..."},
///      "adapters": [{"sublayer": "attn.3", "kind": "low_rank", "rank": 16, "input": "normed", "epsilon": 1e-05,
///                    "ridge": 0.001, "explained": 0.4}],
///      "weight_sample": [0.1, ...], "report": {"objective": "kl", ..., "history": [...]}, "provenance": {}}
///
/// A bias has rank 0 and input "raw". `epsilon` is that of the input's norm, null without one. What is not known is null.
/// Version 2 is written where an input's norm is no root-mean-square norm: `"norm": "layer"` says so.
struct AdapterDocument {
    private static let format = "prunecore.adapters"
    private static let versions = 1...2
    /// Bytes of a text at most.
    static let sizeLimit = 64 << 20

    let mask: KeepMask
    let hiddenSize: Int
    let weightSample: [Float]
    let forms: [AdapterForm]
    let report: RecoveryReport
    /// SHA-256 of the file with the numbers, in hexadecimal.
    let checksum: String

    /// - Parameters:
    ///   - file: name of the file with the numbers.
    ///   - provenance: a JSON object; nil = an empty one.
    /// Errors: `.format` if it is not; `.nonFinite` if a weight by which the model is recognised, or a norm's epsilon, is
    /// not finite, as no reader would take it back.
    static func write(
        _ set: AdapterSet, file: String, checksum: String, provenance: String?
    ) throws(PruneError) -> String {
        let tensors: JSONValue = .object(["file": .string(file), "sha256": .string(checksum)])
        let adapters = set.sublayers.compactMap { sublayer in
            set.adapters[sublayer].map { describe($0, at: sublayer, set.report).text }
        }
        guard set.weightSample.allSatisfy(\.isFinite) else {
            throw PruneError(
                .nonFinite,
                "a weight of the model that the adapters are for is not finite, so that they cannot be saved")
        }
        let sample: JSONValue = .array(set.weightSample.map { .number(Double($0)) })
        let version = set.adapters.values.contains { $0.norm?.kind == .layer } ? 2 : 1
        return """
            {"format": "\(format)", "version": \(version), "n_blocks": \(set.mask.blockCount), \
            "removed": [\(MaskDocument.removedNames(set.mask))], "hidden_size": \(set.hiddenSize),
             "tensors": \(tensors.text),
             "adapters": [\(adapters.joined(separator: ",\n  "))],
             "weight_sample": \(sample.text),
             "report": \(describe(set.report).text),
             "provenance": \(try MaskDocument.checkedProvenance(provenance))}

            """
    }

    static func describe(_ adapter: Adapter, at sublayer: Int, _ report: RecoveryReport) -> JSONValue {
        var members: [String: JSONValue] = [
            "sublayer": .string(sublayerName(sublayer)), "kind": .string(adapter.kind.name),
            "rank": .integer(adapter.rank), "input": .string(adapter.norm == nil ? "raw" : "normed"),
            "epsilon": number(adapter.norm.map { Double($0.epsilon) }), "ridge": number(report.ridges[sublayer]),
            "explained": number(report.explained[sublayer]),
        ]
        if let norm = adapter.norm, norm.kind != .rootMeanSquare { members["norm"] = .string(norm.kind.name) }
        return .object(members)
    }

    static func describe(_ report: RecoveryReport) -> JSONValue {
        .object([
            "objective": .string(report.objective.name), "statistics_tokens": .integer(report.statisticsTokens),
            "trained_tokens": .integer(report.trainedTokens), "steps": .integer(report.steps),
            "best_step": .integer(report.bestStep), "held_out_before": number(report.heldOutBefore),
            "held_out_best": number(report.heldOutBest), "seconds": .number(report.seconds),
            "history": .array(
                report.history.map { record in
                    .object([
                        "step": .integer(record.step), "loss": .number(record.loss),
                        "held_out_loss": .number(record.heldOutLoss),
                    ])
                }),
        ])
    }

    private static func number(_ value: Double?) -> JSONValue { value.map { .number($0) } ?? .null }
}

extension AdapterDocument {
    /// Errors: `.format`, naming the file and the member at fault; `.unsupported` for a later version.
    static func read(_ text: [UInt8], path: String) throws(PruneError) -> AdapterDocument {
        let file = try ConfigObject.parse(text, path: path)
        guard file.value("format") == .string(format) else {
            throw file.fault(.format, "format", "is not \"\(format)\"; this file describes no adapters")
        }
        guard case .integer(let found) = file.value("version"), found >= 1 else {
            throw file.fault(.format, "version", "is not an integer of at least 1")
        }
        guard versions.contains(found) else {
            throw file.fault(
                .unsupported, "version",
                "is \(found), this library reads \(versions.lowerBound) and \(versions.upperBound); use a newer one")
        }
        let mask = try MaskDocument.mask(
            blocks: file.value("n_blocks"), removed: file.value("removed"), source: path)
        let width = try file.count("hidden_size", limit: ModelConfig.Limits.width)
        var report = try readReport(try file.object("report"))
        let places = Dictionary(uniqueKeysWithValues: mask.removed.map { (sublayerName($0), $0) })
        var forms: [Int: AdapterForm] = [:]
        for own in try file.objects("adapters") {
            let name = try own.string("sublayer")
            guard let sublayer = places[name] else {
                throw own.fault(.format, "sublayer", "is \(name.quoted), which the mask does not remove")
            }
            guard forms[sublayer] == nil else {
                throw own.fault(.format, "sublayer", "is \(name.quoted), which has an adapter already")
            }
            forms[sublayer] = try AdapterForm.read(own, at: sublayer)
            report.ridges[sublayer] = try own.optionalNumber("ridge")
            report.explained[sublayer] = try own.optionalNumber("explained")
        }
        return AdapterDocument(
            mask: mask, hiddenSize: width, weightSample: try readSample(file),
            forms: forms.values.sorted { $0.sublayer < $1.sublayer }, report: report,
            checksum: try file.object("tensors").string("sha256"))
    }

    /// Infinities would be equal to any weight, and turn off the check that adapters belong to a model.
    private static func readSample(_ file: ConfigObject) throws(PruneError) -> [Float] {
        let sample = try file.numbers("weight_sample")
        if let index = sample.firstIndex(where: { !Float($0).isFinite }) {
            throw file.fault(.format, "weight_sample[\(index)]", "is \(sample[index]), which a float cannot hold")
        }
        return sample.map { Float($0) }
    }

    private static func readReport(_ own: ConfigObject) throws(PruneError) -> RecoveryReport {
        func count(_ key: String, of object: ConfigObject) throws(PruneError) -> Int {
            guard let count = try object.optionalCount(key, from: 0, limit: Int.max) else { throw object.missing(key) }
            return count
        }
        var report = RecoveryReport()
        let name = try own.string("objective")
        guard let objective = RecoveryObjective.allCases.first(where: { $0.name == name }) else {
            throw own.fault(.format, "objective", "is \(name.quoted), which is not an objective")
        }
        report.objective = objective
        report.statisticsTokens = try count("statistics_tokens", of: own)
        report.trainedTokens = try count("trained_tokens", of: own)
        report.steps = try count("steps", of: own)
        report.bestStep = try count("best_step", of: own)
        report.heldOutBefore = try own.optionalNumber("held_out_before")
        report.heldOutBest = try own.optionalNumber("held_out_best")
        report.seconds = try own.optionalNumber("seconds") ?? 0
        for record in try own.objects("history") {
            report.history.append(
                TrainingRecord(
                    step: try count("step", of: record), loss: try record.optionalNumber("loss") ?? .nan,
                    heldOutLoss: try record.optionalNumber("held_out_loss") ?? .nan))
        }
        return report
    }
}
