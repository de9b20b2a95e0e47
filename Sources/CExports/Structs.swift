// SPDX-License-Identifier: Apache-2.0
import CPruneCore
import PruneCore

/// Reads a struct that begins with `struct_size`, of any version: fields the caller does not know stay zero.
///
/// - Parameter least: the size of the struct in the first version that had it.
/// - Returns: nil if `pointer` is NULL.
/// Errors: `.argument` if the size is below `least`, or an unknown tail is not zero.
func readStruct<Struct>(
    _ pointer: UnsafePointer<Struct>?, _ zero: Struct, least: Int, _ name: String
) throws(PruneError) -> Struct? {
    guard let pointer else { return nil }
    let raw = UnsafeRawPointer(pointer)
    let size = try structSize(raw, least: least, known: MemoryLayout<Struct>.size, name)
    var value = zero
    withUnsafeMutableBytes(of: &value) { bytes in
        bytes.copyMemory(from: UnsafeRawBufferPointer(start: raw, count: min(size, bytes.count)))
    }
    return value
}

/// Writes a struct to a caller who may know fewer fields, or more. The caller's `struct_size` stays.
///
/// Errors: `.argument` for NULL or a size below `least`.
func writeStruct<Struct>(
    _ value: Struct, to pointer: UnsafeMutablePointer<Struct>?, least: Int, _ name: String
) throws(PruneError) {
    let raw = UnsafeMutableRawPointer(try need(pointer, name))
    let size = try structSize(UnsafeRawPointer(raw), least: least, known: MemoryLayout<Struct>.size, name)
    var value = value
    withUnsafeBytes(of: &value) { bytes in
        let skip = MemoryLayout<UInt32>.size
        let count = min(size, bytes.count)
        UnsafeMutableRawBufferPointer(start: raw + skip, count: count - skip)
            .copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[skip..<count]))
    }
}

/// The caller's `struct_size`, checked: no smaller than the first version's, and zero beyond what this version knows.
private func structSize(
    _ raw: UnsafeRawPointer, least: Int, known: Int, _ name: String
) throws(PruneError) -> Int {
    let size = Int(raw.loadUnaligned(as: UInt32.self))
    guard size >= least else {
        throw PruneError(
            .argument,
            "\(name).struct_size is \(size), but at least \(least) are needed; set it to sizeof, or use the _INIT macro"
        )
    }
    // A size beyond any version is an uninitialised field, not a newer header.
    guard size <= 1 << 16 else {
        throw PruneError(
            .argument, "\(name).struct_size is \(size), which no version has; set it to sizeof, or use the _INIT macro")
    }
    for offset in stride(from: known, to: size, by: 1) where raw.load(fromByteOffset: offset, as: UInt8.self) != 0 {
        throw PruneError(
            .argument,
            "\(name).struct_size is \(size) and sets fields that this version (\(known) bytes) does not know; use a newer library"
        )
    }
    return size
}

/// Errors: `.argument` if a reserved field is not 0, so that a later version can give it a meaning.
func checkReserved(_ value: Int32, _ name: String) throws(PruneError) {
    guard value == 0 else { throw PruneError(.argument, "\(name).reserved is \(value); it must be 0") }
}

/// A mask given by the caller, or the model's; what is not there is removed in either.
/// Errors: `.argument` for a wrong length or entry.
func mask(
    _ keep: UnsafePointer<UInt8>?, _ count: Int, or model: ModelHandle, _ name: String = "keep"
) throws(PruneError) -> KeepMask {
    guard let keep else {
        guard count == 0 else { throw PruneError(.argument, "\(name) is NULL, but its count is \(count)") }
        return try model.currentMask
    }
    guard count == model.model.shape.sublayerCount else { throw wrongMaskLength(count, model, name) }
    let mask = try KeepMask(bytes: try array(keep, count, name))
    try model.model.shape.check(mask)
    return model.model.shape.present(in: mask)
}

func wrongMaskLength(_ count: Int, _ model: ModelHandle, _ name: String) -> PruneError {
    let shape = model.model.shape
    return PruneError(
        .argument,
        "\(name) has \(count) entries; this model has \(shape.sublayerCount) sublayers (2 x \(shape.blockCount) blocks)"
    )
}

/// A batch size given by the caller: 0 = the usual. Errors: `.argument` if it is negative.
func batchTokens(_ value: Int64) throws(PruneError) -> Int {
    guard value >= 0 else { throw PruneError(.argument, "batch_tokens is \(value); it must be 0 (chosen) or more") }
    return value == 0 ? TokenData.usualBatch : Int(clamping: value)
}

/// A value of a C enumeration. Errors: `.argument` naming field and value.
func choice<Choice: RawRepresentable<Int32>>(_ value: Int32, _ name: String) throws(PruneError) -> Choice {
    guard let choice = Choice(rawValue: value) else {
        throw PruneError(.argument, "\(name) is \(value), which is none of its values")
    }
    return choice
}

/// The caller's progress callback as a listener; nil if there is none.
func listener(_ callback: prune_progress_fn?, _ userData: UnsafeMutableRawPointer?) -> ProgressMeter.Listener? {
    guard let callback else { return nil }
    return { progress in
        progress.stage.withCString { stage in
            var report = prune_progress(
                struct_size: UInt32(MemoryLayout<prune_progress>.size), reserved: 0, stage: stage,
                done: Int64(progress.done), total: Int64(progress.total), seconds: progress.seconds)
            return callback(userData, &report) != 0
        }
    }
}

/// An element type that a C value names. Errors: `.argument` for another value.
func elementType(_ value: prune_element_type, _ name: String) throws(PruneError) -> ElementType {
    switch Int(value) {
    case PRUNE_ELEMENT_FLOAT32: return .float32
    case PRUNE_ELEMENT_FLOAT16: return .float16
    case PRUNE_ELEMENT_BFLOAT16: return .bfloat16
    default: throw PruneError(.argument, "\(name) is \(value), which is none of PRUNE_ELEMENT_*")
    }
}
