// SPDX-License-Identifier: Apache-2.0
/// An adapter at work on rows of hidden states: its update, and the gradients of that.
///
/// fp32 whatever the model multiplies in. Rows are cut into pieces of fixed size, so that results do not depend on the
/// thread count; the gradient of a parameter is summed over all rows on one thread.
struct AdapterLayer {
    private static let rowsPerPiece = 128
    private static let columnsPerPiece = 64

    let adapter: Adapter
    private let scratch: BufferPool

    init(_ adapter: Adapter, _ scratch: BufferPool) {
        self.adapter = adapter
        self.scratch = scratch
    }

    /// out = h + bias + matrix * x for rows x width values.
    func apply(_ h: UnsafePointer<Float>, rows: Int, into out: UnsafeMutablePointer<Float>) throws(PruneError) {
        let width = adapter.width
        let x = try input(h, rows: rows)
        let inner = try scratch.buffer(rows * max(1, adapter.rank))
        let adapter = self.adapter
        try BLAS.products {
            adapter.parameters.withUnsafeBufferPointer { parameters in
                // Safe: an adapter has a bias at least, and the closure does not outlive the call.
                guard let base = parameters.baseAddress else { return }
                Self.forEachPiece(of: rows) { piece in
                    let count = piece.count
                    let values = x.map { UnsafePointer($0.pointer) } ?? h
                    let own = values + piece.lowerBound * width
                    let place = out + piece.lowerBound * width
                    place.update(from: h + piece.lowerBound * width, count: count * width)
                    for row in 0..<count { Kernels.add(base, to: place + row * width, width) }
                    switch adapter.kind {
                    case .bias: break
                    case .lowRank:
                        let z = inner.pointer + piece.lowerBound * adapter.rank
                        BLAS.multiplyTransposed(
                            m: count, n: adapter.rank, k: width, own, width, base + adapter.downRange.lowerBound, width,
                            z,
                            adapter.rank)
                        BLAS.multiplyTransposed(
                            m: count, n: width, k: adapter.rank, z, adapter.rank, base + adapter.upRange.lowerBound,
                            adapter.rank, beta: 1, place, width)
                    case .linear:
                        BLAS.multiplyTransposed(
                            m: count, n: width, k: width, own, width, base + adapter.matrixRange.lowerBound, width,
                            beta: 1,
                            place, width)
                    }
                }
            }
        }
    }

    /// Adds the gradient of the parameters to `sum`, laid out as `Adapter.parameters`; and, unless `out` is nil, writes the
    /// gradient with respect to h, from that with respect to what `apply` gives.
    func pullback(
        at h: UnsafePointer<Float>, of gradient: UnsafePointer<Float>, rows: Int, addingTo sum: inout [Float],
        into out: UnsafeMutablePointer<Float>?
    ) throws(PruneError) {
        let width = adapter.width
        let adapter = self.adapter
        let x = try input(h, rows: rows)
        let values = x.map { UnsafePointer($0.pointer) } ?? h
        let inner = try scratch.buffer(rows * max(1, adapter.rank))
        let innerGradient = try scratch.buffer(rows * max(1, adapter.rank))
        let norm = try adapter.norm?.prepared(scratch)
        let inputGradient = out == nil || adapter.kind == .bias ? nil : try scratch.buffer(rows * width)
        try BLAS.products {
            adapter.parameters.withUnsafeBufferPointer { parameters in
                sum.withUnsafeMutableBufferPointer { sum in
                    // Safe: both hold the parameters of one adapter, and the closures do not outlive the call.
                    guard let base = parameters.baseAddress, let total = sum.baseAddress else { return }
                    Self.forEachPiece(of: rows) { piece in
                        let offset = piece.lowerBound * width
                        if let out { (out + offset).update(from: gradient + offset, count: piece.count * width) }
                        let dx = inputGradient.map { $0.pointer + offset }
                        switch adapter.kind {
                        case .bias: return
                        case .lowRank:
                            let place = piece.lowerBound * adapter.rank
                            BLAS.multiplyTransposed(
                                m: piece.count, n: adapter.rank, k: width, values + offset, width,
                                base + adapter.downRange.lowerBound, width, inner.pointer + place, adapter.rank)
                            BLAS.multiply(
                                m: piece.count, n: adapter.rank, k: width, gradient + offset, width,
                                base + adapter.upRange.lowerBound, adapter.rank, innerGradient.pointer + place,
                                adapter.rank)
                            if let dx {
                                BLAS.multiply(
                                    m: piece.count, n: width, k: adapter.rank, innerGradient.pointer + place,
                                    adapter.rank,
                                    base + adapter.downRange.lowerBound, width, dx, width)
                            }
                        case .linear:
                            if let dx {
                                BLAS.multiply(
                                    m: piece.count, n: width, k: width, gradient + offset, width,
                                    base + adapter.matrixRange.lowerBound, width, dx, width)
                            }
                        }
                        if let dx, let out {
                            self.addInputGradient(dx, at: h + offset, norm, rows: piece.count, to: out + offset)
                        }
                    }
                    ThreadPool.forEach((width + Self.columnsPerPiece - 1) / Self.columnsPerPiece) { index, _ in
                        let columns = index * Self.columnsPerPiece..<min(width, (index + 1) * Self.columnsPerPiece)
                        self.addParameterGradients(
                            values, gradient, inner.pointer, innerGradient.pointer, rows: rows, columns: columns,
                            to: total)
                    }
                }
            }
        }
    }

    /// Some columns of every parameter gradient: of the bias, of up, of down, and of rows of the matrix.
    private func addParameterGradients(
        _ x: UnsafePointer<Float>, _ gradient: UnsafePointer<Float>, _ inner: UnsafePointer<Float>,
        _ innerGradient: UnsafePointer<Float>, rows: Int, columns: Range<Int>, to total: UnsafeMutablePointer<Float>
    ) {
        let (width, rank) = (adapter.width, adapter.rank)
        let first = columns.lowerBound
        for row in 0..<rows { Kernels.add(gradient + row * width + first, to: total + first, columns.count) }
        switch adapter.kind {
        case .bias: break
        case .lowRank:
            BLAS.multiplyTransposingLeft(
                m: columns.count, n: rank, k: rows, gradient + first, width, inner, rank, beta: 1,
                total + adapter.upRange.lowerBound + first * rank, rank)
            BLAS.multiplyTransposingLeft(
                m: rank, n: columns.count, k: rows, innerGradient, rank, x + first, width, beta: 1,
                total + adapter.downRange.lowerBound + first, width)
        case .linear:
            BLAS.multiplyTransposingLeft(
                m: columns.count, n: width, k: rows, gradient + first, width, x, width, beta: 1,
                total + adapter.matrixRange.lowerBound + first * width, width)
        }
    }

    /// x, if it is not h itself. Errors: `.memory`.
    private func input(_ h: UnsafePointer<Float>, rows: Int) throws(PruneError) -> FloatBuffer? {
        guard let norm = try adapter.norm?.prepared(scratch) else { return nil }
        let width = adapter.width
        let x = try scratch.buffer(rows * width)
        Self.forEachPiece(of: rows) { piece in
            for row in piece { norm.apply(h + row * width, width: width, into: x.pointer + row * width) }
        }
        return x
    }

    /// Adds what a gradient with respect to x means for h.
    private func addInputGradient(
        _ dx: UnsafePointer<Float>, at h: UnsafePointer<Float>, _ norm: PreparedNorm?, rows: Int,
        to out: UnsafeMutablePointer<Float>
    ) {
        let width = adapter.width
        guard let norm else { return Kernels.add(dx, to: out, rows * width) }
        for row in 0..<rows {
            let place = row * width
            norm.addPullback(h + place, width: width, of: dx + place, to: out + place)
        }
    }

    private static func forEachPiece(of rows: Int, _ body: @escaping (Range<Int>) -> Void) {
        ThreadPool.forEach((rows + rowsPerPiece - 1) / rowsPerPiece) { piece, _ in
            body(piece * rowsPerPiece..<min(rows, (piece + 1) * rowsPerPiece))
        }
    }
}
