// SPDX-License-Identifier: Apache-2.0
/// Some logits of some inputs: made and used up on one thread, so that tokens x vocabulary never stands in memory whole.
struct LogitTile {
    /// Rows that are computed together at most: each tile holds its logits of all of them in fp32, of a part in bf16.
    static func rows(_ compute: ComputeType) -> Int { compute == .float32 ? 1024 : 4096 }

    /// Which tile of the vocabulary this is, and its entries.
    let index: Int
    let entries: Range<Int>
    /// The rows of the inputs.
    let rows: Range<Int>
    private let values: UnsafeMutablePointer<Float>

    /// - Parameters:
    ///   - values: for each input one after the other, rows x entries, as the product of the head gives them.
    ///   - finish: makes logits of them.
    init(
        index: Int, entries: Range<Int>, rows: Range<Int>, inputs: Int, _ values: UnsafeMutablePointer<Float>,
        _ finish: LogitFinish
    ) {
        if !finish.isNothing {
            for line in 0..<inputs * rows.count { finish.apply(values + line * entries.count, entries) }
        }
        self.index = index
        self.entries = entries
        self.rows = rows
        self.values = values
    }

    /// The tile's logits of a row, one of `rows`, of an input.
    func logits(_ row: Int, of input: Int = 0) -> UnsafePointer<Float> { UnsafePointer(place(row, of: input)) }

    /// The tile's logits of a row of the first input less those of the second; uses the first up.
    func differences(_ row: Int) -> UnsafePointer<Float> {
        let own = place(row, of: 0)
        Kernels.subtract(place(row, of: 1), from: own, entries.count)
        return UnsafePointer(own)
    }

    private func place(_ row: Int, of input: Int) -> UnsafeMutablePointer<Float> {
        values + (input * rows.count + row - rows.lowerBound) * entries.count
    }
}

/// How the vocabulary is cut into tiles.
struct LogitTiling {
    let count: Int
    fileprivate let entriesPerTile: Int

    fileprivate init(entries: Int, entriesPerTile: Int) {
        self.entriesPerTile = entriesPerTile
        count = (entries + entriesPerTile - 1) / entriesPerTile
    }
}

extension NativeModel {
    /// Entries of a tile in bf16: four panels, and the logits of 96 rows, fit the second-level cache.
    private static let roundedEntries = 4 * BFloat16Product.panelColumns
    private static let roundedRows = 96

    var logitTiling: LogitTiling {
        let entries = weights.head.rows
        return switch compute {
        case .float32: LogitTiling(entries: entries, entriesPerTile: Tiling(weights.head, atMost: 1024).rowsPerTile)
        case .bfloat16: LogitTiling(entries: entries, entriesPerTile: Self.roundedEntries)
        }
    }

    /// Calls `body` on all threads with tiles of the logits of `inputs`, which hold `rows` rows each after the final norm.
    ///
    /// All inputs' logits come from one reading of the weights, and each from a product of its own, so equal inputs have
    /// equal logits. A tile of the vocabulary may come in several parts of its rows.
    func forEachLogitTile(
        _ inputs: [FloatBuffer], rows: Int, _ tiling: LogitTiling, _ body: @escaping (_ tile: LogitTile) -> Void
    ) throws(PruneError) {
        let finish = try LogitFinish(self)
        switch compute {
        case .float32: try forEachFloat32Tile(inputs, rows: rows, tiling, finish, body)
        case .bfloat16: try forEachBFloat16Tile(inputs, rows: rows, tiling, finish, body)
        }
    }

    private func forEachFloat32Tile(
        _ inputs: [FloatBuffer], rows: Int, _ tiling: LogitTiling, _ finish: LogitFinish,
        _ body: @escaping (LogitTile) -> Void
    ) throws(PruneError) {
        let width = config.embedding.width
        let weightTiling = Tiling(weights.head, atMost: tiling.entriesPerTile)
        let slotFloats = inputs.count * rows * weightTiling.rowsPerTile
        let logits = try scratch.buffer(slotFloats * weightTiling.slots)
        try MatrixProduct.forEachTile(of: weights.head, weightTiling, scratch: scratch) { weights, tile in
            // Safe: the slot's part of the buffer belongs to this thread until the call returns.
            let own = logits.pointer + tile.slot * slotFloats
            let entries = tile.rows.count
            for (index, x) in inputs.enumerated() {
                BLAS.multiplyTransposed(
                    m: rows, n: entries, k: width, x.pointer, width, weights, tile.stride,
                    own + index * rows * entries, entries)
            }
            body(LogitTile(index: tile.index, entries: tile.rows, rows: 0..<rows, inputs: inputs.count, own, finish))
        }
    }

    private func forEachBFloat16Tile(
        _ inputs: [FloatBuffer], rows: Int, _ tiling: LogitTiling, _ finish: LogitFinish,
        _ body: @escaping (LogitTile) -> Void
    ) throws(PruneError) {
        let width = config.embedding.width
        let head = weights.head
        let panelColumns = BFloat16Product.panelColumns
        let rounded = try inputs.map { input throws(PruneError) in
            try BFloat16Rows(rounding: input.pointer, rows: rows, columns: width, scratch)
        }
        let pairs = (width + 1) / 2
        let panelElements = 2 * pairs * panelColumns
        @Sendable func entries(_ index: Int) -> Range<Int> {
            index * tiling.entriesPerTile..<min((index + 1) * tiling.entriesPerTile, head.rows)
        }
        @Sendable func panels(_ entries: Range<Int>) -> [Range<Int>] {
            stride(from: entries.lowerBound, to: entries.upperBound, by: panelColumns).map {
                $0..<min($0 + panelColumns, entries.upperBound)
            }
        }
        try BFloat16Product.forEachPiece(
            panels: tiling.count, rows: rows, inputs: width, panelsAtATime: Self.roundedEntries / panelColumns,
            roomFloats: inputs.count * Self.roundedRows * Self.roundedEntries, scratch
        ) { index, place in
            for (number, outputs) in panels(entries(index)).enumerated() {
                BFloat16Product.pack(
                    head, outputs, width: BFloat16Product.roundedUp(outputs.count), into: place + number * panelElements
                )
            }
        } multiply: { index, place, share, logits in
            let entries = entries(index)
            let panels = panels(entries)
            for first in stride(from: share.lowerBound, to: share.upperBound, by: Self.roundedRows) {
                let part = first..<min(first + Self.roundedRows, share.upperBound)
                for (input, x) in rounded.enumerated() {
                    for (number, outputs) in panels.enumerated() {
                        BFloat16Product.multiply(
                            x.row(first), stride: x.stride, place + number * panelElements, pairs: pairs,
                            into: logits + input * part.count * entries.count + outputs.lowerBound - entries.lowerBound,
                            stride: entries.count, rows: part.count, columns: outputs.count)
                    }
                }
                body(LogitTile(index: index, entries: entries, rows: part, inputs: rounded.count, logits, finish))
            }
        }
    }
}
