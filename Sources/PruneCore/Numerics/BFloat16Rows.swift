// SPDX-License-Identifier: Apache-2.0
internal import CKernels

/// Activations rounded to bf16: rows x columns. The product reads values in pairs, so rows have an even stride.
struct BFloat16Rows {
    let rows: Int
    let columns: Int
    let stride: Int
    private let buffer: FloatBuffer

    /// Not initialised, but for the partner of a last single column, which is 0. Errors: `.memory`.
    init(rows: Int, columns: Int, _ scratch: BufferPool) throws(PruneError) {
        self.rows = rows
        self.columns = columns
        stride = (columns + 1) / 2 * 2
        buffer = try scratch.buffer(rows * stride / 2)
        if stride > columns {
            for row in 0..<rows { pointer[row * stride + columns] = 0 }
        }
    }

    /// fp32 rows times a number, rounded. Errors: `.memory`.
    init(
        rounding x: UnsafePointer<Float>, times scale: Float = 1, rows: Int, columns: Int, _ scratch: BufferPool
    ) throws(PruneError) {
        try self.init(rows: rows, columns: columns, scratch)
        let own = self
        forEachPiece(of: rows) { piece in
            for row in piece { Kernels.round(x + row * columns, times: scale, into: own.row(row), columns) }
        }
    }

    /// rows * stride values.
    var pointer: UnsafeMutablePointer<UInt16> { buffer.halves }

    func row(_ row: Int) -> UnsafeMutablePointer<UInt16> { pointer + row * stride }

    /// The values in fp32, contiguous. Errors: `.memory`.
    func widened(_ scratch: BufferPool) throws(PruneError) -> FloatBuffer {
        let out = try scratch.buffer(rows * columns)
        for row in 0..<rows { Kernels.widen(self.row(row), .bfloat16, into: out.pointer + row * columns, columns) }
        return out
    }
}

extension FloatBuffer {
    /// The memory as 2 * count values of 16 bits. Safe: a buffer that is asked for them holds nothing else.
    var halves: UnsafeMutablePointer<UInt16> { UnsafeMutableRawPointer(pointer).assumingMemoryBound(to: UInt16.self) }
}
