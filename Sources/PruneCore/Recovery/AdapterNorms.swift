// SPDX-License-Identifier: Apache-2.0
extension Adapter {
    /// Euclidean norm of the bias.
    public var biasNorm: Double { euclidean(biasRange) }

    /// Frobenius norm of the matrix; 0 for a bias.
    public var matrixNorm: Double {
        switch kind {
        case .bias: 0
        case .linear: euclidean(matrixRange)
        case .lowRank: productNorm
        }
    }

    private func euclidean(_ range: Range<Int>) -> Double {
        parameters[range].reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
    }

    /// ||up * down||, from tr(up^T up * down down^T), so that the product of width x width is not made.
    private var productNorm: Double {
        let (width, rank) = (self.width, self.rank)
        var ups = [Float](repeating: 0, count: rank * rank)
        var downs = ups
        BLAS.singleThreaded {
            parameters.withUnsafeBufferPointer { parameters in
                ups.withUnsafeMutableBufferPointer { ups in
                    downs.withUnsafeMutableBufferPointer { downs in
                        // Safe: the ranges lie in the parameters, both results have rank x rank places, and no pointer
                        // outlives the call.
                        guard let base = parameters.baseAddress, let ups = ups.baseAddress,
                            let downs = downs.baseAddress
                        else { return }
                        let (up, down) = (base + upRange.lowerBound, base + downRange.lowerBound)
                        BLAS.multiplyTransposingLeft(m: rank, n: rank, k: width, up, rank, up, rank, ups, rank)
                        BLAS.multiplyTransposed(m: rank, n: rank, k: width, down, width, down, width, downs, rank)
                    }
                }
            }
        }
        // Rounding may leave a product of nothing a little below 0.
        return max(0, zip(ups, downs).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }).squareRoot()
    }
}
