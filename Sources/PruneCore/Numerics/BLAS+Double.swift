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

    /// a * b, with a: rows x k and b: k x columns, contiguous. On one thread.
    static func product(_ a: [Double], _ b: [Double], k: Int, columns: Int) -> [Double] {
        let rows = k > 0 ? a.count / k : 0
        var c = [Double](repeating: 0, count: rows * columns)
        guard rows > 0, columns > 0 else { return c }
        let n = blasint(clamping: columns)
        singleThreaded {
            call {
                cblas_dgemm(
                    CblasRowMajor, CblasNoTrans, CblasNoTrans, blasint(clamping: rows), n, blasint(clamping: k), 1, a,
                    blasint(clamping: k), b, n, 0, &c, n)
            }
        }
        return c
    }

    /// a * a^T of a: rows x columns if `ofRows`, else a^T * a. On one thread.
    static func gram(_ a: [Double], columns: Int, ofRows: Bool) -> SquareMatrix {
        let rows = columns > 0 ? a.count / columns : 0
        let (size, depth) = ofRows ? (rows, columns) : (columns, rows)
        var product = SquareMatrix(size)
        guard size > 0, depth > 0 else { return product }
        singleThreaded {
            call {
                cblas_dsyrk(
                    CblasRowMajor, CblasUpper, ofRows ? CblasNoTrans : CblasTrans, blasint(clamping: size),
                    blasint(clamping: depth), 1, a, blasint(clamping: columns), 0, &product.values,
                    blasint(clamping: size))
            }
        }
        product.copyUpperTriangle()
        return product
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
