// SPDX-License-Identifier: Apache-2.0
/// The gradients of a loss with respect to the matrices of one sublayer, as running sums in fp32.
///
/// One owner at a time adds to them; the model that made them knows which matrix is which.
public final class WeightGradients: Sendable {
    /// One per matrix, as it is stored, row-major.
    let matrices: [FloatBuffer]

    /// Zeros, as many for each matrix as `counts` says. Errors: `.memory`.
    init(counts: [Int]) throws(PruneError) {
        matrices = try counts.map { count throws(PruneError) in
            let buffer = try FloatBuffer(count: count)
            buffer.pointer.update(repeating: 0, count: count)
            return buffer
        }
    }
}
