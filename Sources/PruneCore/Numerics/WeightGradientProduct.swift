// SPDX-License-Identifier: Apache-2.0
internal import CKernels

/// Where the gradient with respect to a stored matrix is added: rows of floats, as many as the matrix has and as long as
/// they are, `stride` floats apart.
///
/// Safe: who makes one keeps its memory alive until it was used, and no two threads use it at once.
struct GradientPlace: @unchecked Sendable {
    let pointer: UnsafeMutablePointer<Float>
    let stride: Int
}

/// Products that sum over rows, as the gradients of weights do: place += a^T * b, with a: rows x outputs and
/// b: rows x inputs. Sums run over the rows in order, however many threads there are.
enum WeightGradientProduct {
    /// Outputs whose gradients one thread sums at a time.
    private static let outputsPerPiece = 64
    /// Rows that are summed in bf16 at a time: a panel of so many stays in the second-level cache. Even, as pairs are.
    private static let roundedRows = 1024
    /// Values more between rows that are turned: powers of two would share few places of the caches.
    private static let padding = 32

    /// In fp32, by BLAS, which is to be single-threaded. Both are contiguous.
    static func add(
        _ a: UnsafePointer<Float>, outputs: Int, _ b: UnsafePointer<Float>, inputs: Int, rows: Int,
        to place: GradientPlace
    ) {
        guard rows > 0 else { return }
        ThreadPool.forEach((outputs + outputsPerPiece - 1) / outputsPerPiece) { piece, _ in
            // Safe: the buffers hold rows x outputs, rows x inputs and outputs x inputs; no two pieces share outputs.
            let first = piece * outputsPerPiece
            BLAS.multiplyTransposingLeft(
                m: min(outputsPerPiece, outputs - first), n: inputs, k: rows, a + first, outputs, b, inputs, beta: 1,
                place.pointer + first * place.stride, place.stride)
        }
    }

    /// Of rows rounded to bf16, summed in fp32. Errors: `.memory`.
    static func add(
        _ a: BFloat16Rows, _ b: BFloat16Rows, to place: GradientPlace, scratch: BufferPool
    ) throws(PruneError) {
        let panel = BFloat16Product.panelColumns
        for first in stride(from: 0, to: a.rows, by: roundedRows) {
            let count = min(roundedRows, a.rows - first)
            let pairs = (count + 1) / 2
            let turnedStride = 2 * pairs + padding
            let turned = try scratch.buffer(a.columns * turnedStride / 2)
            ThreadPool.forEach((a.columns + panel - 1) / panel) { piece, _ in
                // Safe: no two pieces share columns, and the buffer holds a row for each.
                let column = piece * panel
                BFloat16Product.transpose(
                    a.row(first) + column, stride: a.stride, count: count, columns: min(panel, a.columns - column),
                    into: turned.halves + column * turnedStride, stride: turnedStride)
            }
            try BFloat16Product.forEachPiece(
                panels: (b.columns + panel - 1) / panel, rows: a.columns, inputs: count, scratch
            ) { index, place in
                let columns = min(panel, b.columns - index * panel)
                kernel_bf16_pack_columns(
                    b.row(first), b.stride, Int32(STORED_BF16), index * panel, count, columns,
                    BFloat16Product.roundedUp(columns), place)
            } multiply: { index, packed, share, _ in
                let out = place.pointer + share.lowerBound * place.stride + index * panel
                BFloat16Product.multiply(
                    turned.halves + share.lowerBound * turnedStride, stride: turnedStride, packed, pairs: pairs,
                    start: UnsafePointer(out), into: out, stride: place.stride, rows: share.count,
                    columns: min(panel, b.columns - index * panel))
            }
        }
    }

    /// sum[j] += the sum of column j over rows that are `columns` values long.
    static func addColumnSums(
        of x: UnsafePointer<Float>, rows: Int, columns: Int, to sum: UnsafeMutablePointer<Float>
    ) {
        ThreadPool.forEach((columns + outputsPerPiece - 1) / outputsPerPiece) { piece, _ in
            // Safe: no two pieces share columns.
            let first = piece * outputsPerPiece
            let count = min(outputsPerPiece, columns - first)
            for row in 0..<rows { Kernels.add(x + row * columns + first, to: sum + first, count) }
        }
    }
}
