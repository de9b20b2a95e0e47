// SPDX-License-Identifier: Apache-2.0
internal import COpenBLAS

/// The products of doubles that statistics and regressions are made of, row-major.
extension BLAS {
    /// c += a^T * b, with a: k x m, b: k x n, c: m x n. Pointers as for the products of floats.
    static func addTransposingLeft(
        m: Int, n: Int, k: Int, _ a: UnsafePointer<Double>, _ strideA: Int, _ b: UnsafePointer<Double>, _ strideB: Int,
        to c: UnsafeMutablePointer<Double>, _ strideC: Int
    ) {
        call {
            cblas_dgemm(
                CblasRowMajor, CblasTrans, CblasNoTrans, blasint(clamping: m), blasint(clamping: n),
                blasint(clamping: k), 1, a, blasint(clamping: strideA), b, blasint(clamping: strideB), 1, c,
                blasint(clamping: strideC))
        }
    }

    /// a * b, with a: rows x size and b: size x size, contiguous. On one thread.
    static func product(_ a: [Double], _ b: [Double], size: Int) -> [Double] {
        let n = blasint(clamping: size)
        let rows = size > 0 ? a.count / size : 0
        var c = [Double](repeating: 0, count: rows * size)
        guard rows > 0 else { return c }
        singleThreaded {
            call {
                cblas_dgemm(
                    CblasRowMajor, CblasNoTrans, CblasNoTrans, blasint(clamping: rows), n, n, 1, a, n, b, n, 0, &c, n)
            }
        }
        return c
    }

    /// a += weight * x^T * y, with a: x.count x y.count.
    static func addOuterProduct(_ weight: Double, _ x: [Double], _ y: [Double], to a: inout [Double]) {
        let n = blasint(clamping: y.count)
        singleThreaded {
            call { cblas_dger(CblasRowMajor, blasint(clamping: x.count), n, weight, x, 1, y, 1, &a, n) }
        }
    }

    /// Sum of x[first + i] * y[first + i] for i < count.
    static func dot(_ x: [Double], _ y: [Double], first: Int, count: Int) -> Double {
        x.withUnsafeBufferPointer { x in
            y.withUnsafeBufferPointer { y in
                // Safe: callers name places inside both.
                guard let x = x.baseAddress, let y = y.baseAddress else { return 0 }
                return singleThreaded {
                    call { cblas_ddot(blasint(clamping: count), x + first, 1, y + first, 1) }
                }
            }
        }
    }
}
