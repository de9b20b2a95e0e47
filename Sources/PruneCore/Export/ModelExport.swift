// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// Writes a model without what a mask removes as a directory that runtimes serve.
///
/// - Parameters:
///   - model: opened from a directory; it may have adapters.
///   - adapters: of `mask`; nil = none beside those that the model has.
///   - place: the directory, which must not be there unless the options say that it is replaced.
/// Errors: `.argument` if mask, adapters and model do not fit; `.unsupported` if the format cannot say it, or the model was
/// not opened from a directory; `.file`, with the system's reason; `.format` for a bad provenance; `.cancelled`.
public func export(
    _ model: any Model, _ mask: KeepMask, adapters: AdapterSet?, to place: String, _ options: ExportOptions,
    progress: ProgressMeter.Listener? = nil
) throws(PruneError) {
    let subject = try exportSubject(model, mask, adapters, options)
    _ = try MaskDocument.checkedProvenance(options.provenance)
    guard options.shardBytes > 0 else {
        throw PruneError(.argument, "shard_bytes is \(options.shardBytes); it must be above 0")
    }
    let plan = try plan(subject, options.format)
    let target = try exportTarget(place, replaces: options.replaces)
    let home = options.tokenizerDirectory ?? subject.source.directory
    let others = ModelFiles.list(home)
    let weights = ShardedWeights(plan.tensors, limit: options.shardBytes)
    let texts = plan.files.reduce(plan.config.utf8.count) { $0 + $1.bytes.count }
    try requireSpace(weights.byteCount + others.reduce(texts) { $0 + $1.byteCount }, for: target.path)
    let meter = ProgressMeter(stage: "export", total: plan.tensors.count, listener: progress)
    let staged = try StagedDirectory(target.path)
    try staged.write("config.json", Array(plan.config.utf8))
    for file in plan.files { try staged.write(file.name, file.bytes) }
    for file in others { try ModelFiles.copy(file, from: home, to: staged) }
    try weights.write(to: staged, subject.model.scratch, meter)
    try staged.write(
        ExportDocument.name, Array(try ExportDocument.write(plan, subject, options, files: staged.files).utf8))
    try staged.finish(replacing: target.exists)
}

/// Adapters that the model has and the mask keeps stay where they are, and so does what was absent when it was opened.
///
/// Errors: `.unsupported` for a model that did not come from a directory; `.argument` for adapters of another mask or model.
private func exportSubject(
    _ model: any Model, _ mask: KeepMask, _ adapters: AdapterSet?, _ options: ExportOptions
) throws(PruneError) -> ExportSubject {
    let recovered = model as? RecoveredModel
    guard let native = (recovered?.base ?? model) as? NativeModel, let source = native.source else {
        throw PruneError(
            .unsupported,
            "model was not opened from a directory, so that there is no checkpoint to copy from; open one that is saved"
        )
    }
    let mask = model.shape.present(in: mask)
    if let adapters {
        try adapters.check(for: model)
        let own = model.shape.present(in: adapters.mask)
        guard own == mask else {
            throw PruneError(
                .argument,
                "the adapters are of another mask: they were made for the removal of \(own.removed.map(sublayerName)), not of \(mask.removed.map(sublayerName))"
            )
        }
    }
    guard let recovered else {
        return ExportSubject(
            model: native, source: source, mask: mask, adapters: adapters?.under(mask: mask),
            dequantisedType: options.dequantisedType)
    }
    let all = adapters.map { recovered.adapters.replaced(by: $0) } ?? recovered.adapters.kept(by: mask)
    return ExportSubject(
        model: native, source: source, mask: all.mask, adapters: all,
        dequantisedType: options.dequantisedType)
}

private func plan(_ subject: ExportSubject, _ format: ExportFormat) throws(PruneError) -> ExportPlan {
    switch format {
    case .huggingFace:
        // What is stored as deltas stays so.
        PlainExport.obstacle(subject) == nil && subject.model.sharing.isEmpty
            ? try PlainExport.plan(subject) : try CustomExport.plan(subject)
    case .plain: try PlainExport.plan(subject)
    case .custom: try CustomExport.plan(subject)
    case .deci: try DeciExport.plan(subject)
    case .zeroed: try ZeroedExport.plan(subject)
    case .mlx: try MLXExport.plan(subject)
    }
}

/// Where the directory goes: without slashes at the end, and what a link names instead of the link.
/// Errors: `.file` if something is there that may not go.
private func exportTarget(_ place: String, replaces: Bool) throws(PruneError) -> (path: String, exists: Bool) {
    guard !place.isEmpty, !place.utf8.contains(0) else {
        throw PruneError(.file, "\(place.quoted): a path cannot be empty or contain a NUL character")
    }
    var path = place
    while path.count > 1, path.hasSuffix("/") { path.removeLast() }
    guard MappedFile.exists(path) else { return (path, false) }
    guard replaces else {
        throw PruneError(.file, "\(place): there is something already; give another path, or ask to replace it")
    }
    try MappedFile.requireDirectory(path)
    guard let resolved = realpath(path, nil) else { throw MappedFile.failure(place, errno) }
    defer { free(resolved) }
    path = String(cString: resolved)
    try ExportDocument.requireReplaceable(path)
    return (path, true)
}

/// Errors: `.file` if the disk says that it has less room.
private func requireSpace(_ byteCount: Int, for path: String) throws(PruneError) {
    var status = statvfs()
    guard statvfs(AtomicFile.parent(of: path), &status) == 0 else { throw MappedFile.failure(path, errno) }
    let (free, overflow) = UInt64(status.f_bavail).multipliedReportingOverflow(by: UInt64(status.f_frsize))
    // File systems without a size of their own say that they have no blocks at all.
    guard !overflow, status.f_blocks > 0, free < UInt64(byteCount) else { return }
    throw PruneError(.file, "\(path): the export takes \(byteCount) bytes, and \(free) are free on this disk")
}
