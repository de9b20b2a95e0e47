// SPDX-License-Identifier: Apache-2.0
public import CPruneCore
import PruneCore

/// The options of the first version ended before `tokenizer_directory`.
private let exportOptionsSize =
    MemoryLayout<prune_export_options>.offset(of: \.tokenizer_directory) ?? MemoryLayout<prune_export_options>.size

/// The options of an export; defaults for NULL. Errors: `.argument` naming the field.
private func exportOptions(_ given: prune_export_options) throws(PruneError) -> ExportOptions {
    var options = ExportOptions(version: String(cString: prune_version()))
    options.format = try choice(given.format, "options.format")
    guard given.shard_bytes >= 0 else {
        throw PruneError(.argument, "options.shard_bytes is \(given.shard_bytes); it must be 0 (chosen) or more")
    }
    if given.shard_bytes != 0 { options.shardBytes = Int(clamping: given.shard_bytes) }
    guard given.replace == 0 || given.replace == 1 else {
        throw PruneError(.argument, "options.replace is \(given.replace); it must be 0 or 1")
    }
    options.replaces = given.replace == 1
    options.tokenizerDirectory = try optionalText(given.tokenizer_directory, "options.tokenizer_directory")
    switch Int(given.dequantised) {
    case PRUNE_DEQUANTISED_BFLOAT16: options.dequantisedType = .bfloat16
    case PRUNE_DEQUANTISED_FLOAT16: options.dequantisedType = .float16
    case PRUNE_DEQUANTISED_FLOAT32: options.dequantisedType = .float32
    default:
        throw PruneError(
            .argument, "options.dequantised is \(given.dequantised), which is none of PRUNE_DEQUANTISED_*")
    }
    options.provenance = try optionalText(given.provenance_json, "options.provenance_json")
    return options
}

@c @implementation
public func prune_model_export(
    _ model: OpaquePointer!, _ keep: UnsafePointer<UInt8>!, _ n_keep: Int, _ adapters: OpaquePointer!,
    _ directory: UnsafePointer<CChar>!, _ options: UnsafePointer<prune_export_options>!
) -> prune_status {
    guarded { () throws(PruneError) in
        let handle = try HandleTable.object(model, ModelHandle.self, "model")
        let directory = try text(try need(directory, "directory"), "directory")
        let given =
            try readStruct(options, prune_export_options(), least: exportOptionsSize, "options")
            ?? prune_export_options()
        let asked = try exportOptions(given)
        let set = adapters == nil ? nil : try HandleTable.object(adapters, AdaptersHandle.self, "adapters").current
        // Checked even where the adapters say which.
        let own = try mask(keep, n_keep, or: handle)
        try export(
            handle.model, keep == nil ? set?.mask ?? own : own, adapters: set, to: directory, asked,
            progress: listener(given.progress, given.user_data))
    }
}
