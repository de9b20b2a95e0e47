// SPDX-License-Identifier: Apache-2.0
/// The gradient of a delta from that of the weight W = base + U V: dU = dW V^T, dV = U^T dW.
extension SharedTensor {
    /// - Parameters:
    ///   - parameters: U, outputs x rank, and V, rank x inputs, after it.
    ///   - gradients: of the sublayer's projections, as each is stored.
    ///   - projections: those of the sublayer, in the same order.
    /// Errors: those of BLAS.
    func gradient(
        at parameters: [Float], _ gradients: WeightGradients, _ projections: [ProjectionPlan]
    ) throws(PruneError) -> [Float] {
        let (outputs, inputs) = (projection.outputs, projection.inputs)
        let rank = parameters.count / (outputs + inputs)
        var result = [Float](repeating: 0, count: parameters.count)
        guard rank > 0 else { return result }
        try BLAS.products { () throws(PruneError) in
            parameters.withUnsafeBufferPointer { own in
                result.withUnsafeMutableBufferPointer { out in
                    // Safe: both hold outputs x rank and rank x inputs values, and a part's rows lie within the outputs.
                    guard let up = own.baseAddress, let ofUp = out.baseAddress else { return }
                    let (down, ofDown) = (up + outputs * rank, ofUp + outputs * rank)
                    for part in projection.parts {
                        let (first, count) = (projections[part].weight.first, projections[part].outputs)
                        let dw = gradients.matrices[part].pointer
                        if projection.isTransposed {
                            // dw is inputs x count.
                            BLAS.addTransposingBoth(
                                m: count, n: rank, k: inputs, dw, count, down, inputs, to: ofUp + first * rank, rank)
                            BLAS.addTransposingBoth(
                                m: rank, n: inputs, k: count, up + first * rank, rank, dw, count, to: ofDown, inputs)
                        } else {
                            BLAS.multiplyTransposed(
                                m: count, n: rank, k: inputs, dw, inputs, down, inputs, beta: 1, ofUp + first * rank,
                                rank
                            )
                            BLAS.multiplyTransposingLeft(
                                m: rank, n: inputs, k: count, up + first * rank, rank, dw, inputs, beta: 1, ofDown,
                                inputs)
                        }
                    }
                }
            }
        }
        return result
    }
}
