// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// What the library runs on: BLAS, its kernels, and what the CPU could do.
public enum Runtime {
    public static var blas: String { BLAS.configuration }

    /// Kernels that BLAS chose when it was loaded.
    public static var blasKernels: String { BLAS.kernels }

    /// Value of the environment variable OPENBLAS_CORETYPE, which forces the choice; "" if unset.
    public static let blasForced = getenv("OPENBLAS_CORETYPE").map { String(cString: $0) } ?? ""

    /// Features of the CPU that matter for speed, separated by spaces.
    public static let cpuFeatures: String = {
        let wanted: Set = [
            "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_bf16", "avx512_vnni",
            "amx_bf16",
            "asimd", "bf16", "sve",
        ]
        return processorFlags().filter(wanted.contains).joined(separator: " ")
    }()

    /// Instructions that products of bf16 numbers run on; "" if this CPU has none.
    public static var bf16Kernels: String { ComputeType.bfloat16.isSupported ? "avx512_bf16" : "" }

    /// The instructions that the loops of this library use: the best of this CPU, or what PRUNECORE_LOOPS names.
    public static var loopKernels: String { Kernels.levelName }

    /// A sentence if the kernels in use are slower than the CPU allows; "" if all is well.
    public static let advice: String = {
        let wide: Set = ["skylakex", "cooperlake", "sapphirerapids"]
        guard cpuFeatures.contains("avx512f"), cpuFeatures.contains("avx512dq"),
            !wide.contains(blasKernels.lowercased())
        else { return "" }
        let cause =
            blasForced.isEmpty
            ? "this build of OpenBLAS does not know the CPU"
            : "OPENBLAS_CORETYPE=\(blasForced) forces it; unset the variable"
        return "OpenBLAS runs \(blasKernels) kernels though the CPU has AVX-512, at about half the speed: \(cause)."
    }()

    /// The flags of the first processor that the system lists.
    private static func processorFlags() -> [String] {
        SystemText.lines(of: "/proc/cpuinfo").first { $0.hasPrefix("flags") || $0.hasPrefix("Features") }
            .map(SystemText.words) ?? []
    }
}
