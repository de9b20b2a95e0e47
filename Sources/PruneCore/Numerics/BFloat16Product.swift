// SPDX-License-Identifier: Apache-2.0
internal import CKernels

/// Matrix products of activations in bf16, on all threads: see `CKernels/bf16_product.h` for how and with which rounding.
///
/// The outputs are cut into panels of 64. A thread takes a panel, packs its weights from where they are stored into its
/// own cache, and multiplies all rows by it; so weights are read once for all rows, and never stand in memory twice. Where
/// there are few panels, the rows are shared out too.
enum BFloat16Product {
    /// Whether this CPU has the instructions.
    static let isSupported = Kernels.level == KERNEL_LEVEL_AVX512 && kernel_bf16_supported() != 0

    /// Outputs of a panel.
    static let panelColumns = Int(BF16_PANEL_COLUMNS)

    /// Fewest rows that a panel is packed for: packing costs as much as eight rows.
    private static let fewestRows = 96

    /// One matrix of a product, and where its outputs go.
    struct Target {
        let weight: StoredMatrix
        /// One value per output; nil = none.
        var bias: FloatBuffer?
        let runs: [Run]
    }

    /// Where the outputs of some consecutive rows go.
    struct Run {
        let rows: Range<Int>
        /// What the product is added to: the rows' first output, the rows `stride` apart; nil = 0.
        var start: UnsafePointer<Float>?
        /// The rows' first output, the rows `stride` apart. May be `start`.
        let out: UnsafeMutablePointer<Float>
        let stride: Int
    }

    /// out = start + x * weight^T + bias for every target; all targets have as many inputs as x has columns.
    ///
    /// Safe if each run's memory holds its rows, and no two runs of a target overlap.
    static func apply(_ x: BFloat16Rows, to targets: [Target], scratch: BufferPool) throws(PruneError) {
        var panels: [(target: Target, outputs: Range<Int>)] = []
        for target in targets {
            for first in Swift.stride(from: 0, to: target.weight.rows, by: panelColumns) {
                panels.append((target, first..<min(first + panelColumns, target.weight.rows)))
            }
        }
        let pairs = (x.columns + 1) / 2
        try forEachPiece(panels: panels.count, rows: x.rows, inputs: x.columns, scratch) { index, panel in
            let (target, outputs) = panels[index]
            pack(target.weight, outputs, width: roundedUp(outputs.count), into: panel)
        } multiply: { index, panel, rows, _ in
            let (target, outputs) = panels[index]
            let bias = target.bias.map { UnsafePointer($0.pointer + outputs.lowerBound) }
            for run in target.runs where run.rows.overlaps(rows) {
                let own = run.rows.clamped(to: rows)
                let offset = (own.lowerBound - run.rows.lowerBound) * run.stride + outputs.lowerBound
                multiply(
                    x.row(own.lowerBound), stride: x.stride, panel, pairs: pairs, start: run.start.map { $0 + offset },
                    bias: bias, into: run.out + offset, stride: run.stride, rows: own.count, columns: outputs.count)
            }
        }
    }

    /// Calls `multiply` on all threads, once for every panel and share of the rows, after `pack` made the panel.
    ///
    /// - Parameters:
    ///   - panelsAtATime: as many panels, of 64 outputs each, as `pack` makes at a time.
    ///   - roomFloats: floats that `multiply` may use, on each thread.
    ///   - pack: given the panel's index and room for inputs x 64 values per panel.
    ///   - multiply: given index, panel, rows, and its own room.
    static func forEachPiece(
        panels: Int, rows: Int, inputs: Int, panelsAtATime: Int = 1, roomFloats: Int = 0, _ scratch: BufferPool,
        pack: @escaping (_ index: Int, _ panel: UnsafeMutablePointer<UInt16>) -> Void,
        multiply:
            @escaping (
                _ index: Int, _ panel: UnsafePointer<UInt16>, _ rows: Range<Int>, _ room: UnsafeMutablePointer<Float>
            ) -> Void
    ) throws(PruneError) {
        guard panels > 0, rows > 0 else { return }
        // Asked once: another thread of the host may set the number at any time.
        let slots = ThreadPool.threads
        // Four pieces a thread, so that none waits long for the last.
        let shares = slots == 1 ? 1 : max(1, min((4 * slots + panels - 1) / panels, rows / fewestRows))
        let panelFloats = (inputs + 1) / 2 * panelsAtATime * panelColumns
        let slotFloats = panelFloats + roomFloats
        let memory = try scratch.buffer(slotFloats * slots)
        ThreadPool.forEach(panels * shares, slots: slots) { piece, slot in
            let (index, share) = (piece / shares, piece % shares)
            // Safe: the slot's part of the buffer belongs to this thread until the call returns.
            let own = memory.pointer + slot * slotFloats
            let panel = UnsafeMutableRawPointer(own).assumingMemoryBound(to: UInt16.self)
            pack(index, panel)
            multiply(index, panel, share * rows / shares..<(share + 1) * rows / shares, own + panelFloats)
        }
    }

    /// Packs some outputs of a matrix from column `column` on into a panel of `width` columns, multiples of 16 both.
    static func pack(
        _ weight: StoredMatrix, _ outputs: Range<Int>, column: Int = 0, width: Int,
        into panel: UnsafeMutablePointer<UInt16>
    ) {
        guard let base = weight.tensor.bytes.baseAddress else { return }
        let type = weight.tensor.elementType
        // Safe: the tensor holds rows x columns elements, checked when it was opened; loads need no alignment.
        kernel_bf16_pack_rows(
            base + outputs.lowerBound * weight.rowBytes, weight.stride, type.kernelType, outputs.count, weight.columns,
            column, width, panel)
    }

    /// Packs `count` fp32 rows, one per output, into a panel.
    static func packRows(
        _ rows: UnsafePointer<Float>, stride: Int, count: Int, inputs: Int, width: Int,
        into panel: UnsafeMutablePointer<UInt16>
    ) {
        kernel_bf16_pack_rows(rows, stride, Int32(STORED_FP32), count, inputs, 0, width, panel)
    }

    /// Packs fp32 rows, one per input, into a panel of `width` outputs, those from `columns` on 0.
    static func packColumns(
        _ rows: UnsafePointer<Float>, stride: Int, inputs: Int, columns: Int, width: Int,
        into panel: UnsafeMutablePointer<UInt16>
    ) {
        kernel_bf16_pack_columns(rows, stride, Int32(STORED_FP32), 0, inputs, columns, width, panel)
    }

    /// out = x^T, for `count` rows of x; the partner of a last single row is 0.
    static func transpose(
        _ x: UnsafePointer<UInt16>, stride: Int, count: Int, columns: Int, into out: UnsafeMutablePointer<UInt16>,
        stride outStride: Int
    ) {
        kernel_bf16_transpose(x, stride, count, columns, out, outStride)
    }

    /// Packs some columns of a matrix, over those rows that are `inputs`, into a panel of `width` outputs: see
    /// `pullback`.
    static func packColumns(
        of weight: StoredMatrix, inputs: Range<Int>, columns: Range<Int>, width: Int,
        into panel: UnsafeMutablePointer<UInt16>
    ) {
        guard let base = weight.tensor.bytes.baseAddress else { return }
        // Safe: as in `pack`.
        kernel_bf16_pack_columns(
            base + inputs.lowerBound * weight.rowBytes, weight.stride, weight.tensor.elementType.kernelType,
            columns.lowerBound, inputs.count, columns.count, width, panel)
    }

    /// out = start + bias + rows of x times a panel, on this thread. `columns` is at most 64, and the panel as wide as that
    /// rounded up to 16.
    static func multiply(
        _ x: UnsafePointer<UInt16>, stride xStride: Int, _ panel: UnsafePointer<UInt16>, pairs: Int,
        start: UnsafePointer<Float>? = nil, bias: UnsafePointer<Float>? = nil, into out: UnsafeMutablePointer<Float>,
        stride: Int, rows: Int, columns: Int
    ) {
        kernel_bf16_multiply(x, xStride, panel, pairs, start, stride, bias, out, stride, rows, columns)
    }

    /// Columns as a panel has them: whole vectors of 16.
    static func roundedUp(_ columns: Int) -> Int { (columns + 15) / 16 * 16 }
}
