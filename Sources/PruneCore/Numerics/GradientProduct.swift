// SPDX-License-Identifier: Apache-2.0
/// A summand of the gradient of a product's inputs: dX = dY * W, where Y = X * W^T and W is stored outputs x inputs.
///
/// The sum runs over outputs, so that it can be computed in parts: `outputs` says which rows of W the columns of dY belong to.
struct GradientTerm<Rows> {
    /// dY: rows x outputs.
    let gradient: Rows
    let weight: StoredMatrix
    let outputs: Range<Int>

    /// - Parameter outputs: nil = all of the weight's.
    init(_ gradient: Rows, _ weight: StoredMatrix, outputs: Range<Int>? = nil) {
        self.gradient = gradient
        self.weight = weight
        self.outputs = outputs ?? 0..<weight.rows
    }
}

extension BFloat16Product {
    /// Outputs whose panels a thread holds together: they should stay in its second-level cache.
    private static let outputsAtATime = 4096

    /// out = start + the sum of dY * W over the terms, in their order. All gradients have as many rows, all weights as many
    /// columns.
    ///
    /// The columns of W are cut into panels of 64. A row's result does not depend on the others.
    /// Safe if each run's memory holds its rows, and no two runs overlap.
    static func pullback(_ terms: [GradientTerm<BFloat16Rows>], to runs: [Run], scratch: BufferPool) throws(PruneError)
    {
        var runs = runs
        for group in consecutiveGroups(ofRows: terms.map(\.outputs.count), atMost: outputsAtATime) {
            try add(Array(terms[group]), to: runs, scratch)
            for index in runs.indices { runs[index].start = UnsafePointer(runs[index].out) }
        }
    }

    private static func add(
        _ terms: [GradientTerm<BFloat16Rows>], to runs: [Run], _ scratch: BufferPool
    ) throws(PruneError) {
        guard let rows = terms.first?.gradient.rows, let width = terms.first?.weight.columns else { return }
        let rowsAtATime = 96
        // The panels of a piece, one term's after the other's.
        var parts: [(term: GradientTerm<BFloat16Rows>, pairs: Int, offset: Int)] = []
        var pairs = 0
        for term in terms {
            let own = (term.outputs.count + 1) / 2
            parts.append((term, own, pairs * 2 * panelColumns))
            pairs += own
        }
        let (panels, inputs) = (parts, 2 * pairs)
        @Sendable func columns(_ index: Int) -> Range<Int> {
            index * panelColumns..<min((index + 1) * panelColumns, width)
        }
        try forEachPiece(
            panels: (width + panelColumns - 1) / panelColumns, rows: rows, inputs: inputs, scratch
        ) { index, place in
            let own = columns(index)
            for (term, _, offset) in panels {
                packColumns(
                    of: term.weight, inputs: term.outputs, columns: own, width: roundedUp(own.count),
                    into: place + offset)
            }
        } multiply: { index, place, share, _ in
            let own = columns(index)
            for run in runs where run.rows.overlaps(share) {
                let rows = run.rows.clamped(to: share)
                for first in Swift.stride(from: rows.lowerBound, to: rows.upperBound, by: rowsAtATime) {
                    let offset = (first - run.rows.lowerBound) * run.stride + own.lowerBound
                    var start = run.start.map { $0 + offset }
                    for (term, pairs, panel) in panels {
                        multiply(
                            term.gradient.row(first), stride: term.gradient.stride, place + panel, pairs: pairs,
                            start: start, into: run.out + offset, stride: run.stride,
                            rows: min(rowsAtATime, rows.upperBound - first), columns: own.count)
                        start = UnsafePointer(run.out + offset)
                    }
                }
            }
        }
    }
}

extension MatrixProduct {
    /// Bytes of widened weights that a thread holds at most; they should stay in the caches.
    private static let widenedBytes = 4 << 20

    /// out = the sum of dY * W over the terms, in their order; with `adding`, out's own values come first.
    ///
    /// The columns of W are cut into tiles, the same however many threads there are. A thread takes a tile, widens its
    /// weights to fp32 if they are stored in less, some outputs at a time, and multiplies with BLAS on itself alone.
    /// - Parameters:
    ///   - terms: each dY is rows x outputs, contiguous; all weights have as many columns.
    ///   - runs: how many rows belong together: see `apply`.
    ///   - out: rows x columns of W, contiguous.
    static func pullback(
        _ terms: [GradientTerm<UnsafePointer<Float>>], runs: [Int], into out: UnsafeMutablePointer<Float>,
        adding: Bool = false, scratch: BufferPool
    ) throws(PruneError) {
        guard let width = terms.first?.weight.columns else { return }
        let columnsPerTile = max(16, min(512, max(64, (width + 7) / 8)) / 16 * 16)
        let outputsAtATime = widenedBytes / (4 * columnsPerTile)
        let slots = ThreadPool.threads
        let slotFloats = outputsAtATime * columnsPerTile
        let isWidened = terms.contains { $0.weight.floats == nil }
        let widened = try isWidened ? scratch.buffer(slotFloats * slots) : nil
        ThreadPool.forEach((width + columnsPerTile - 1) / columnsPerTile, slots: slots) { tile, slot in
            let columns = tile * columnsPerTile..<min((tile + 1) * columnsPerTile, width)
            var isFirst = !adding
            for term in terms {
                let (outputs, weight) = (term.outputs, term.weight)
                let step = weight.floats == nil ? outputsAtATime : max(outputs.count, 1)
                for first in stride(from: outputs.lowerBound, to: outputs.upperBound, by: step) {
                    let own = first..<min(first + step, outputs.upperBound)
                    var weights: (pointer: UnsafePointer<Float>, stride: Int)
                    if let floats = weight.floats {
                        weights = (floats + own.lowerBound * weight.stride + columns.lowerBound, weight.stride)
                    } else if let widened {
                        // Safe: the slot's part of the buffer belongs to this thread until the call returns.
                        let place = widened.pointer + slot * slotFloats
                        weight.widen(own, columns: columns, into: place)
                        weights = (UnsafePointer(place), columns.count)
                    } else {
                        return
                    }
                    var row = 0
                    for count in runs {
                        BLAS.multiply(
                            m: count, n: columns.count, k: own.count,
                            term.gradient + row * outputs.count + own.lowerBound - outputs.lowerBound, outputs.count,
                            weights.pointer, weights.stride, beta: isFirst ? 0 : 1,
                            out + row * width + columns.lowerBound,
                            width)
                        row += count
                    }
                    isFirst = false
                }
            }
        }
    }
}

extension StoredMatrix {
    /// Widens some columns of some rows into rows x columns. Safe: the tensor holds them, checked when it was opened.
    fileprivate func widen(_ rows: Range<Int>, columns own: Range<Int>, into out: UnsafeMutablePointer<Float>) {
        guard let base = tensor.bytes.baseAddress else { return }
        for (index, row) in rows.enumerated() {
            Kernels.widen(own, ofRow: base + row * rowBytes, tensor.elementType, into: out + index * own.count)
        }
    }
}
