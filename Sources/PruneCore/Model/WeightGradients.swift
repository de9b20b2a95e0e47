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

    /// Outputs whose gradients one thread sums at a time. Fixed, so that results do not depend on the thread count.
    private static let outputsPerPiece = 64

    /// Adds dY^T * X to one of the matrices: dY the gradient of a projection's outputs, rows x outputs, X its inputs,
    /// rows x inputs. To be called where BLAS is single-threaded.
    func add(toMatrix index: Int, _ dy: FloatBuffer, _ x: FloatBuffer, rows: Int) {
        guard rows > 0 else { return }
        let sum = matrices[index]
        let (outputs, inputs) = (dy.count / rows, x.count / rows)
        ThreadPool.forEach((outputs + Self.outputsPerPiece - 1) / Self.outputsPerPiece) { piece, _ in
            // Safe: the buffers hold rows x outputs, rows x inputs and outputs x inputs; no two pieces share outputs.
            let first = piece * Self.outputsPerPiece
            BLAS.multiplyTransposingLeft(
                m: min(Self.outputsPerPiece, outputs - first), n: inputs, k: rows, dy.pointer + first, outputs,
                x.pointer,
                inputs, beta: 1, sum.pointer + first * inputs, inputs)
        }
    }
}
