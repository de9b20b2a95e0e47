// SPDX-License-Identifier: Apache-2.0
internal import COpenBLAS

/// A square matrix of doubles, row-major.
struct SquareMatrix {
    let size: Int
    var values: [Double]

    /// The matrix of zeros.
    init(_ size: Int) {
        self.size = size
        values = Array(repeating: 0, count: size * size)
    }

    subscript(row: Int, column: Int) -> Double {
        get { values[row * size + column] }
        set { values[row * size + column] = newValue }
    }

    /// Adds weight * row^T * row.
    mutating func add(_ weight: Double, _ row: [Double]) {
        for i in 0..<size where row[i] != 0 {
            let scaled = weight * row[i]
            for j in 0..<size { values[i * size + j] += scaled * row[j] }
        }
    }

    /// Adds to the diagonal.
    mutating func addToDiagonal(_ value: Double) {
        for i in 0..<size { values[i * size + i] += value }
    }

    /// Makes the matrix symmetric by its part above the diagonal.
    mutating func copyUpperTriangle() {
        values.withUnsafeMutableBufferPointer { values in
            for row in 0..<size {
                for column in 0..<row { values[row * size + column] = values[column * size + row] }
            }
        }
    }

    var meanDiagonal: Double {
        (0..<size).reduce(0) { $0 + values[$1 * size + $1] } / Double(max(size, 1))
    }
}

/// The Cholesky factor of a symmetric positive definite matrix, by LAPACK in double.
///
/// On one thread: how LAPACK rounds depends on their number, which another call may be changing meanwhile.
struct CholeskyFactor {
    private let size: Int
    private var values: [Double]

    /// nil if the matrix is not positive definite, up to rounding; or if BLAS is not ready (see `BLAS.reserve`).
    init?(_ matrix: SquareMatrix) {
        size = matrix.size
        values = matrix.values
        guard size > 0, values.allSatisfy(\.isFinite), BLAS.isReady else { return nil }
        var n = blasint(clamping: size)
        var info: blasint = 0
        var stride = n
        BLAS.singleThreaded { BLAS.call { dpotrf_("L", &n, &values, &stride, &info) } }
        guard info == 0 else { return nil }
    }

    /// x with matrix * x = right; of several right sides, one after the other.
    func solve(_ right: [Double]) -> [Double] {
        var x = right
        var n = blasint(clamping: size)
        var count = blasint(clamping: right.count / size)
        var stride = n
        var strideB = n
        var info: blasint = 0
        BLAS.singleThreaded { BLAS.call { dpotrs_("L", &n, &count, values, &stride, &x, &strideB, &info) } }
        return x
    }

    /// The symmetric matrix rows * matrix^-1 * rows^T, with rows: size x size.
    func quadraticForm(_ rows: [Double]) -> SquareMatrix {
        var halves = rows
        var product = SquareMatrix(size)
        let n = blasint(clamping: size)
        // Column-major: rows^T, of which the factor's inverse is half the way to the solution.
        BLAS.singleThreaded {
            BLAS.call {
                cblas_dtrsm(
                    CblasColMajor, CblasLeft, CblasLower, CblasNoTrans, CblasNonUnit, n, n, 1, values, n, &halves, n)
            }
            BLAS.call { cblas_dsyrk(CblasColMajor, CblasLower, CblasTrans, n, n, 1, halves, n, 0, &product.values, n) }
        }
        product.copyUpperTriangle()
        return product
    }

    /// rows * L, with L the lower triangle for which matrix = L * L^T, and rows: some x size. The products of two such results
    /// are those in the metric of the matrix: (x L) (y L)^T = x * matrix * y^T.
    func rooted(_ rows: [Double]) -> [Double] {
        var out = rows
        let n = blasint(clamping: size)
        let count = blasint(clamping: rows.count / size)
        // Row-major, the factor is an upper triangle: L^T.
        BLAS.singleThreaded {
            BLAS.call {
                cblas_dtrmm(
                    CblasRowMajor, CblasRight, CblasUpper, CblasTrans, CblasNonUnit, count, n, 1, values, n, &out, n)
            }
        }
        return out
    }

    /// The diagonal of the inverse.
    var inverseDiagonal: [Double] {
        var inverse = values
        var n = blasint(clamping: size)
        var stride = n
        var info: blasint = 0
        BLAS.singleThreaded { BLAS.call { dpotri_("L", &n, &inverse, &stride, &info) } }
        return (0..<size).map { inverse[$0 * size + $0] }
    }
}
