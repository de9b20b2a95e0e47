// SPDX-License-Identifier: Apache-2.0
internal import COpenBLAS

/// The eigenvectors of the `count` largest eigenvalues of a symmetric matrix, largest first: count x size, each of norm 1.
///
/// By LAPACK in double, on one thread: see `CholeskyFactor`. `count` is 1 ... size; nil if the values are not
/// finite, or BLAS is not ready.
func leadingEigenvectors(of matrix: SquareMatrix, count: Int) -> [Double]? {
    leadingEigenpairs(of: matrix, count: count, vectors: true)?.vectors
}

/// All eigenvalues of a symmetric matrix, largest first. nil as above.
func eigenvalues(of matrix: SquareMatrix) -> [Double]? {
    leadingEigenpairs(of: matrix, count: matrix.size, vectors: false)?.values
}

/// The `count` largest eigenvalues, largest first, and their eigenvectors, if wanted. nil as above.
func leadingEigenpairs(
    of matrix: SquareMatrix, count: Int, vectors wanted: Bool
) -> (values: [Double], vectors: [Double])? {
    let size = matrix.size
    var values = matrix.values
    guard (1...max(size, 1)).contains(count), size > 0, values.allSatisfy(\.isFinite), BLAS.isReady else { return nil }
    var n = blasint(clamping: size)
    var stride = n
    var strideOfVectors = n
    var first = blasint(clamping: size - count + 1)
    var last = n
    var lowest = 0.0
    var highest = 0.0
    var tolerance = 0.0
    var found: blasint = 0
    var info: blasint = 0
    var eigenvalues = [Double](repeating: 0, count: size)
    var vectors = [Double](repeating: 0, count: wanted ? size * count : 1)
    var support = [blasint](repeating: 0, count: 2 * size)
    // LAPACK asks for 26 and 10 per row; blocked code likes more of the former.
    var work = [Double](repeating: 0, count: 64 * size)
    var integers = [blasint](repeating: 0, count: 10 * size)
    var workCount = blasint(clamping: work.count)
    var integerCount = blasint(clamping: integers.count)
    BLAS.singleThreaded {
        BLAS.call {
            dsyevr_(
                wanted ? "V" : "N", "I", "L", &n, &values, &stride, &lowest, &highest, &first, &last, &tolerance,
                &found,
                &eigenvalues, &vectors, &strideOfVectors, &support, &work, &workCount, &integers, &integerCount, &info)
        }
    }
    guard info == 0, Int(found) == count else { return nil }
    // They come by ascending eigenvalue.
    return (
        eigenvalues[..<count].reversed(),
        wanted ? (0..<count).reversed().flatMap { vectors[$0 * size..<($0 + 1) * size] } : []
    )
}
