// SPDX-License-Identifier: Apache-2.0
internal import COpenBLAS
internal import Synchronization

/// The BLAS calls of the engine, row-major.
///
/// Every pointer is to memory that the caller owns or borrows for the call, and that holds the rows and strides it states.
enum BLAS {
    /// c = alpha * a * b^T + beta * c, with a: m x k, b: n x k, c: m x n.
    static func multiplyTransposed(
        m: Int, n: Int, k: Int, alpha: Float = 1, _ a: UnsafePointer<Float>, _ strideA: Int,
        _ b: UnsafePointer<Float>, _ strideB: Int, beta: Float = 0, _ c: UnsafeMutablePointer<Float>, _ strideC: Int
    ) {
        cblas_sgemm(
            CblasRowMajor, CblasNoTrans, CblasTrans, blasint(clamping: m), blasint(clamping: n), blasint(clamping: k),
            alpha, a, blasint(clamping: strideA), b, blasint(clamping: strideB), beta, c, blasint(clamping: strideC))
    }

    /// c = alpha * a * b + beta * c, with a: m x k, b: k x n, c: m x n.
    static func multiply(
        m: Int, n: Int, k: Int, alpha: Float = 1, _ a: UnsafePointer<Float>, _ strideA: Int, _ b: UnsafePointer<Float>,
        _ strideB: Int, beta: Float = 0, _ c: UnsafeMutablePointer<Float>, _ strideC: Int
    ) {
        cblas_sgemm(
            CblasRowMajor, CblasNoTrans, CblasNoTrans, blasint(clamping: m), blasint(clamping: n), blasint(clamping: k),
            alpha, a, blasint(clamping: strideA), b, blasint(clamping: strideB), beta, c, blasint(clamping: strideC))
    }

    /// c = alpha * a^T * b + beta * c, with a: k x m, b: k x n, c: m x n.
    static func multiplyTransposingLeft(
        m: Int, n: Int, k: Int, alpha: Float = 1, _ a: UnsafePointer<Float>, _ strideA: Int, _ b: UnsafePointer<Float>,
        _ strideB: Int, beta: Float = 0, _ c: UnsafeMutablePointer<Float>, _ strideC: Int
    ) {
        cblas_sgemm(
            CblasRowMajor, CblasTrans, CblasNoTrans, blasint(clamping: m), blasint(clamping: n), blasint(clamping: k),
            alpha, a, blasint(clamping: strideA), b, blasint(clamping: strideB), beta, c, blasint(clamping: strideC))
    }

    private struct ThreadCount {
        var calls = 0
        var before: Int32 = 0
    }

    private static let threadCount = Mutex(ThreadCount())

    /// Runs `body` with BLAS on one thread per caller, and puts the process-wide count back when the last such call ends.
    ///
    /// Our own pool calls BLAS from each of its threads; OpenBLAS's threads, which serve the host, stay asleep meanwhile.
    static func singleThreaded<Result, Failure: Error>(
        _ body: () throws(Failure) -> Result
    ) throws(Failure) -> Result {
        threadCount.withLock { state in
            if state.calls == 0 {
                state.before = openblas_get_num_threads()
                openblas_set_num_threads(1)
            }
            state.calls += 1
        }
        defer {
            threadCount.withLock { state in
                state.calls -= 1
                if state.calls == 0 { openblas_set_num_threads(state.before) }
            }
        }
        return try body()
    }

    /// Name, version and build options of the BLAS in use.
    static var configuration: String { openblas_get_config().map { String(cString: $0) } ?? "" }

    /// Kernels that it chose for this CPU when it was loaded.
    static var kernels: String { openblas_get_corename().map { String(cString: $0) } ?? "" }
}
