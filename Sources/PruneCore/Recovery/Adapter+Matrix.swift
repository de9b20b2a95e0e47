// SPDX-License-Identifier: Apache-2.0
extension Adapter {
    /// What it multiplies its input by, width x width, row-major: up * down where it is of low rank, zeros of a bias.
    ///
    /// Errors: `.memory`.
    func wholeMatrix() throws(PruneError) -> [Float] {
        switch kind {
        case .linear: return Array(parameters[matrixRange])
        case .bias: return Array(repeating: 0, count: width * width)
        case .lowRank:
            var matrix = Array(repeating: Float(0), count: width * width)
            try BLAS.products {
                parameters.withUnsafeBufferPointer { parameters in
                    matrix.withUnsafeMutableBufferPointer { matrix in
                        // Safe: an adapter of low rank has rows of both factors, and the closure does not outlive the call.
                        guard let base = parameters.baseAddress, let out = matrix.baseAddress else { return }
                        BLAS.multiply(
                            m: width, n: width, k: rank, base + upRange.lowerBound, rank, base + downRange.lowerBound,
                            width, out, width)
                    }
                }
            }
            return matrix
        }
    }
}
