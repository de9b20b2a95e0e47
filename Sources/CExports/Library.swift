// SPDX-License-Identifier: Apache-2.0
public import CPruneCore
import PruneCore

private let versionText = LentString("\(PRUNE_VERSION_MAJOR).\(PRUNE_VERSION_MINOR).\(PRUNE_VERSION_PATCH)")

@c @implementation
public func prune_version() -> UnsafePointer<CChar>! { versionText.pointer }

@c @implementation
public func prune_abi_version() -> Int32 { Int32(PRUNE_ABI_VERSION) }

private let statusNames = [
    "PRUNE_OK", "PRUNE_ERR_ARGUMENT", "PRUNE_ERR_HANDLE", "PRUNE_ERR_MEMORY", "PRUNE_ERR_FILE", "PRUNE_ERR_FORMAT",
    "PRUNE_ERR_UNSUPPORTED", "PRUNE_ERR_DATA", "PRUNE_ERR_NONFINITE", "PRUNE_ERR_CANCELLED", "PRUNE_ERR_BUFFER",
    "PRUNE_ERR_INTERNAL", "PRUNE_ERR_HOST",
].map { LentString($0) }
private let unknownStatusName = LentString("PRUNE_ERR_UNKNOWN")

@c @implementation
public func prune_status_name(_ status: prune_status) -> UnsafePointer<CChar>! {
    statusNames.indices.contains(Int(status)) ? statusNames[Int(status)].pointer : unknownStatusName.pointer
}

@c @implementation
public func prune_last_error() -> UnsafePointer<CChar>! { LastError.pointer }

private let runtimeStrings = (
    blas: LentString(Runtime.blas), kernels: LentString(Runtime.blasKernels), forced: LentString(Runtime.blasForced),
    features: LentString(Runtime.cpuFeatures), advice: LentString(Runtime.advice),
    bf16: LentString(Runtime.bf16Kernels), loops: LentString(Runtime.loopKernels)
)
/// The struct of the first version ended before `bf16_kernels`.
private let runtimeSize = MemoryLayout<prune_runtime>.offset(of: \.bf16_kernels) ?? MemoryLayout<prune_runtime>.size

@c @implementation
public func prune_runtime_info(_ out_runtime: UnsafeMutablePointer<prune_runtime>!) -> prune_status {
    guarded { () throws(PruneError) in
        let runtime = prune_runtime(
            struct_size: 0, threads: Int32(clamping: ThreadPool.threads),
            processors: Int32(clamping: ThreadPool.processors),
            reserved: 0, blas: runtimeStrings.blas.pointer, blas_kernels: runtimeStrings.kernels.pointer,
            blas_forced: runtimeStrings.forced.pointer, cpu_features: runtimeStrings.features.pointer,
            advice: runtimeStrings.advice.pointer, bf16_kernels: runtimeStrings.bf16.pointer,
            loop_kernels: runtimeStrings.loops.pointer)
        try writeStruct(runtime, to: out_runtime, least: runtimeSize, "out_runtime")
    }
}

@c @implementation
public func prune_threads_set(_ threads: Int32) -> prune_status {
    guarded { () throws(PruneError) in
        guard (0...1024).contains(threads) else {
            throw PruneError(.argument, "threads is \(threads); it must be 0 (one per processor) to 1024")
        }
        ThreadPool.threads = Int(threads)
    }
}
