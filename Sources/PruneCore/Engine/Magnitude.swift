// SPDX-License-Identifier: Apache-2.0
extension NativeModel {
    public var readsWeights: Bool { true }

    public func magnitude(ofSublayer sublayer: Int) throws(PruneError) -> Double? {
        try readingSublayer(sublayer) {
            var sum = 0.0
            for projection in weights.projections(ofSublayer: sublayer) {
                guard let own = sumOfAbsolutes(of: projection.weight) else { return nil }
                sum += own
            }
            return sum
        }
    }

    /// Sum of |w| over a matrix, in double. The weights of a whole model pass through, so all threads take part.
    private func sumOfAbsolutes(of matrix: StoredMatrix) -> Double? {
        // Pieces of fixed size, added in their order: the sum does not depend on the thread count.
        let rowsPerPiece = max(1, Self.magnitudePiece / max(1, matrix.columns))
        let pieces = stride(from: 0, to: matrix.rows, by: rowsPerPiece).map {
            $0..<min($0 + rowsPerPiece, matrix.rows)
        }
        let scratch = scratch
        let sums = mapOnAllThreads(pieces) { rows in matrix.sumOfAbsolutes(in: rows, scratch: scratch) }
        return sums?.reduce(0, +)
    }

    /// Weights that one thread adds up at a time: few enough to spread a small matrix, enough to be worth the handing out.
    private static let magnitudePiece = 1 << 17
}

extension StoredMatrix {
    /// Sum of |w| over some of the rows, in double; nil if there is no memory to widen them in.
    fileprivate func sumOfAbsolutes(in rows: Range<Int>, scratch: BufferPool) -> Double? {
        // Safe: the tensor holds rows x columns elements, checked when it was opened; the loops assume no alignment beyond
        // what x86-64 and arm64 need for elements of 16 bits: none.
        if isContiguous, let floats {
            return Kernels.sumOfAbsolutes(floats + rows.lowerBound * columns, rows.count * columns)
        }
        if isContiguous, tensor.elementType == .bfloat16, let base = tensor.bytes.baseAddress {
            let values = base.assumingMemoryBound(to: UInt16.self) + rows.lowerBound * columns
            return Kernels.sumOfAbsolutes(bf16: values, rows.count * columns)
        }
        // One row at a time, so that the widened weights stay in the nearest cache.
        guard let row = try? scratch.buffer(columns) else { return nil }
        return rows.reduce(0.0) { sum, index in
            widen(first: index, count: 1, into: row.pointer)
            return sum + Kernels.sumOfAbsolutes(row.pointer, columns)
        }
    }
}
