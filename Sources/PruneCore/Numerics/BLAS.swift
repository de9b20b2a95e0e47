// SPDX-License-Identifier: Apache-2.0
internal import COpenBLAS
internal import CThreads

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// The BLAS calls of the engine, row-major.
///
/// Every pointer is to memory that the caller owns or borrows for the call, and that holds the rows and strides it states.
enum BLAS {
    /// c = alpha * a * b^T + beta * c, with a: m x k, b: n x k, c: m x n.
    static func multiplyTransposed(
        m: Int, n: Int, k: Int, alpha: Float = 1, _ a: UnsafePointer<Float>, _ strideA: Int,
        _ b: UnsafePointer<Float>, _ strideB: Int, beta: Float = 0, _ c: UnsafeMutablePointer<Float>, _ strideC: Int
    ) {
        call {
            cblas_sgemm(
                CblasRowMajor, CblasNoTrans, CblasTrans, blasint(clamping: m), blasint(clamping: n),
                blasint(clamping: k),
                alpha, a, blasint(clamping: strideA), b, blasint(clamping: strideB), beta, c, blasint(clamping: strideC)
            )
        }
    }

    /// c = alpha * a * b + beta * c, with a: m x k, b: k x n, c: m x n.
    static func multiply(
        m: Int, n: Int, k: Int, alpha: Float = 1, _ a: UnsafePointer<Float>, _ strideA: Int, _ b: UnsafePointer<Float>,
        _ strideB: Int, beta: Float = 0, _ c: UnsafeMutablePointer<Float>, _ strideC: Int
    ) {
        call {
            cblas_sgemm(
                CblasRowMajor, CblasNoTrans, CblasNoTrans, blasint(clamping: m), blasint(clamping: n),
                blasint(clamping: k),
                alpha, a, blasint(clamping: strideA), b, blasint(clamping: strideB), beta, c, blasint(clamping: strideC)
            )
        }
    }

    /// c = alpha * a^T * b + beta * c, with a: k x m, b: k x n, c: m x n.
    static func multiplyTransposingLeft(
        m: Int, n: Int, k: Int, alpha: Float = 1, _ a: UnsafePointer<Float>, _ strideA: Int, _ b: UnsafePointer<Float>,
        _ strideB: Int, beta: Float = 0, _ c: UnsafeMutablePointer<Float>, _ strideC: Int
    ) {
        call {
            cblas_sgemm(
                CblasRowMajor, CblasTrans, CblasNoTrans, blasint(clamping: m), blasint(clamping: n),
                blasint(clamping: k),
                alpha, a, blasint(clamping: strideA), b, blasint(clamping: strideB), beta, c, blasint(clamping: strideC)
            )
        }
    }

    /// c += a^T * b^T, with a: k x m, b: n x k, c: m x n.
    static func addTransposingBoth(
        m: Int, n: Int, k: Int, _ a: UnsafePointer<Float>, _ strideA: Int, _ b: UnsafePointer<Float>, _ strideB: Int,
        to c: UnsafeMutablePointer<Float>, _ strideC: Int
    ) {
        call {
            cblas_sgemm(
                CblasRowMajor, CblasTrans, CblasTrans, blasint(clamping: m), blasint(clamping: n), blasint(clamping: k),
                1, a, blasint(clamping: strideA), b, blasint(clamping: strideB), 1, c, blasint(clamping: strideC))
        }
    }

    private struct ThreadCount: @unchecked Sendable {
        /// The thread of each call under way. Safe to share: a thread's name is a value.
        var callers: [pthread_t] = []
        var before: Int32 = 0
    }

    private static let threadCount: Lock<ThreadCount> = {
        fork_call_in_child { BLAS.forgetOtherThreads() }
        return Lock(ThreadCount())
    }()

    /// Runs `body` with BLAS on one thread per caller, and puts the process-wide count back when the last such call ends.
    ///
    /// Our own pool calls BLAS from each of its threads; OpenBLAS's threads, which serve the host, stay asleep meanwhile.
    static func singleThreaded<Result, Failure: Error>(
        _ body: () throws(Failure) -> Result
    ) throws(Failure) -> Result {
        let me = pthread_self()
        try? threadCount.withLock { state in
            if state.callers.isEmpty {
                state.before = blas_thread_count()
                blas_set_thread_count(1)
            }
            state.callers.append(me)
        }
        defer {
            try? threadCount.withLock { state in
                if let place = state.callers.firstIndex(where: { pthread_equal($0, me) != 0 }) {
                    state.callers.remove(at: place)
                    if state.callers.isEmpty { blas_set_thread_count(state.before) }
                }
            }
        }
        return try body()
    }

    /// In a child that was forked: only calls of the thread that forked are still under way.
    private static func forgetOtherThreads() {
        let me = pthread_self()
        try? threadCount.withLock { state in
            guard !state.callers.isEmpty else { return }
            state.callers.removeAll { pthread_equal($0, me) == 0 }
            if state.callers.isEmpty { blas_set_thread_count(state.before) }
        }
    }

    /// Makes sure that BLAS can be called: that OpenBLAS, which looks for memory for ever where there is none, has a buffer.
    ///
    /// Errors: `.memory` if it cannot have one; `.unsupported` in a child that was forked while another thread was inside it.
    static func reserve() throws(PruneError) {
        switch blas_reserve(Int32(clamping: ThreadPool.threads)) {
        case Int32(BLAS_READY): return
        case Int32(BLAS_LOST):
            throw PruneError(
                .unsupported,
                "this process was forked while another thread was inside one long call of OpenBLAS, which cannot be used here now; fork when no recovery is under way"
            )
        default:
            throw PruneError(
                .memory,
                "OpenBLAS cannot have the memory it multiplies in (up to 128 MB of addresses); raise the limit on the memory of the process"
            )
        }
    }

    /// Whether `reserve` succeeds.
    static var isReady: Bool { (try? reserve()) != nil }

    /// Runs `body` as `singleThreaded`, when a buffer is there; as it is, if it computes in a type that BLAS does not.
    /// Errors: those of `body` and of `reserve`.
    static func products<Result>(
        in compute: ComputeType = .float32, _ body: () throws(PruneError) -> Result
    ) throws(PruneError) -> Result {
        guard compute == .float32 else { return try body() }
        try reserve()
        return try singleThreaded(body)
    }

    /// Around every call of BLAS and LAPACK: a fork waits for it, and it waits for a buffer where there are few.
    @inline(__always)
    static func call<Result>(_ body: () -> Result) -> Result {
        blas_enter()
        defer { blas_leave() }
        return body()
    }

    /// Name, version and build options of the BLAS in use.
    static var configuration: String { openblas_get_config().map { String(cString: $0) } ?? "" }

    /// Kernels that it chose for this CPU when it was loaded.
    static var kernels: String { openblas_get_corename().map { String(cString: $0) } ?? "" }
}
