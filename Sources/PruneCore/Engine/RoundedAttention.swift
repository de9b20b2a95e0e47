// SPDX-License-Identifier: Apache-2.0
/// Keys and values of some sequences as panels of the bf16 product, for every key and value head.
///
/// Keys are the outputs of the product that gives the scores: panels of 64 keys. Values are the inputs of the product that
/// mixes them: panels of up to 64 of the head's columns, all keys long. Both reach to the next multiple of 64 keys; what is
/// beyond the sequence is 0.
private struct PackedKeysAndValues {
    static let keysPerPanel = BFloat16Product.panelColumns

    let headSize: Int
    let pairs: Int
    /// Where each sequence begins, in keys, one head after the other; by the first row of the sequence.
    let places: [Int: Int]
    private let heads: Int
    private let keys: FloatBuffer
    private let values: FloatBuffer
    /// Columns of the panels of values, in all.
    private let valueColumns: Int

    init(
        _ key: UnsafePointer<Float>, _ value: UnsafePointer<Float>, stride: Int, _ sequences: [Range<Int>], heads: Int,
        headSize: Int, _ scratch: BufferPool
    ) throws(PruneError) {
        self.heads = heads
        self.headSize = headSize
        pairs = (headSize + 1) / 2
        valueColumns = BFloat16Product.roundedUp(headSize)
        var places: [Int: Int] = [:]
        var total = 0
        for sequence in sequences {
            places[sequence.lowerBound] = total
            total += heads * Self.padded(sequence.count)
        }
        self.places = places
        keys = try scratch.buffer(total * pairs)
        values = try scratch.buffer(total * valueColumns / 2)
        let own = self
        ThreadPool.forEach(sequences.count * heads) { index, _ in
            let (sequence, head) = (sequences[index / heads], index % heads)
            let offset = sequence.lowerBound * stride + head * headSize
            own.pack(key + offset, value + offset, stride: stride, sequence, head: head)
        }
    }

    static func padded(_ keys: Int) -> Int { (keys + keysPerPanel - 1) / keysPerPanel * keysPerPanel }

    /// The panel of 64 keys from `first` on, a multiple of 64.
    func keyPanel(_ sequence: Range<Int>, head: Int, first: Int) -> UnsafeMutablePointer<UInt16> {
        keys.halves + (place(sequence, head) + first) * 2 * pairs
    }

    /// The panel of values from key `first` on, a multiple of 2, for the head's columns from `column` on, a multiple of 64.
    func valuePanel(
        _ sequence: Range<Int>, head: Int, first: Int, column: Int
    ) -> UnsafeMutablePointer<UInt16> {
        let width = min(Self.keysPerPanel, valueColumns - column)
        let panels = values.halves + place(sequence, head) * valueColumns
        return panels + Self.padded(sequence.count) * column + first * width
    }

    private func place(_ sequence: Range<Int>, _ head: Int) -> Int {
        (places[sequence.lowerBound] ?? 0) + head * Self.padded(sequence.count)
    }

    private func pack(
        _ key: UnsafePointer<Float>, _ value: UnsafePointer<Float>, stride: Int, _ sequence: Range<Int>, head: Int
    ) {
        let count = sequence.count
        for first in Swift.stride(from: 0, to: count, by: Self.keysPerPanel) {
            let panel = keyPanel(sequence, head: head, first: first)
            let own = min(Self.keysPerPanel, count - first)
            if own < Self.keysPerPanel { panel.update(repeating: 0, count: Self.keysPerPanel * 2 * pairs) }
            BFloat16Product.packRows(
                key + first * stride, stride: stride, count: own, inputs: headSize, width: Self.keysPerPanel,
                into: panel)
        }
        for column in Swift.stride(from: 0, to: valueColumns, by: Self.keysPerPanel) {
            let width = min(Self.keysPerPanel, valueColumns - column)
            let panel = valuePanel(sequence, head: head, first: 0, column: column)
            BFloat16Product.packColumns(
                value + column, stride: stride, inputs: count, columns: min(width, headSize - column), width: width,
                into: panel)
            let packed = (count + 1) / 2 * 2
            (panel + packed * width).update(repeating: 0, count: (Self.padded(count) - packed) * width)
        }
    }
}

extension NativeModel {
    /// softmax(scale * q * k^T) * v for every head, rounded to bf16; a tile of queries at a time. The weights of the values
    /// are rounded before they are normed, and their fp32 sum divides what they give.
    func mixRounded(
        _ heads: AttentionRows, rows: Int, _ layer: AttentionWeights, _ sequences: [Range<Int>],
        _ pause: AttentionPause?
    ) throws(PruneError) -> BFloat16Rows {
        let packed = try PackedKeysAndValues(
            heads.key.pointer, heads.value.pointer, stride: config.kvHeadCount * config.headSize, sequences,
            heads: config.kvHeadCount, headSize: config.headSize, scratch)
        let (query, window) = (heads.query, layer.plan.window)
        let size = config.headSize
        let queryStride = config.headCount * size
        let group = config.headCount / config.kvHeadCount
        let scale = layer.plan.scale
        let panel = PackedKeysAndValues.keysPerPanel
        let tile = 48
        let q = try BFloat16Rows(rounding: query.pointer, rows: rows, columns: queryStride, scratch)
        let mixed = try BFloat16Rows(rows: rows, columns: queryStride, scratch)
        let slots = ThreadPool.threads
        let longest = sequences.map(\.count).max() ?? 0
        // Whole panels: a piece sees at most window + tile - 1 keys, and up to a panel more at each end.
        let mostKeys = PackedKeysAndValues.padded(min(longest, (window ?? longest) + tile + panel))
        // Per slot: scores, outputs, and the rounded weights in half the room.
        let slotFloats = tile * (mostKeys + BFloat16Product.roundedUp(size) + mostKeys / 2)
        let room = try scratch.buffer(slotFloats * slots)
        let pieces = attentionPieces(sequences, tile: tile)
        try forEach(pieces, slots: slots, work: tile * mostKeys * size, pause) { piece, slot in
            let queries = piece.queries
            let head = piece.head / group
            let firstSeen = window.map { max(0, queries.lowerBound - $0 + 1) } ?? 0
            let firstKey = firstSeen / panel * panel
            let keys = PackedKeysAndValues.padded(queries.upperBound) - firstKey
            // Safe: the slot's part of the buffer belongs to this thread until the call returns, and keys <= mostKeys.
            let scores = room.pointer + slot * slotFloats
            let outputs = scores + tile * mostKeys
            let weights = UnsafeMutableRawPointer(outputs + tile * BFloat16Product.roundedUp(size))
                .assumingMemoryBound(to: UInt16.self)
            let own = q.row(piece.sequence.lowerBound + queries.lowerBound) + piece.head * size
            for key in stride(from: 0, to: keys, by: panel) {
                BFloat16Product.multiply(
                    own, stride: q.stride, packed.keyPanel(piece.sequence, head: head, first: firstKey + key),
                    pairs: packed.pairs, into: scores + key, stride: keys, rows: queries.count, columns: panel)
            }
            var norms = InlineArray<48, Float>(repeating: 0)
            for (row, position) in queries.enumerated() {
                let visible = (window.map { max(0, position - $0 + 1) } ?? 0) - firstKey..<position + 1 - firstKey
                let line = weights + row * keys
                line.update(repeating: 0, count: visible.lowerBound)
                let sum = Kernels.exponentials(
                    scores + row * keys + visible.lowerBound, scale: scale, into: line + visible.lowerBound,
                    visible.count)
                (line + visible.upperBound).update(repeating: 0, count: keys - visible.upperBound)
                norms[row] = 1 / sum
            }
            for column in stride(from: 0, to: size, by: panel) {
                let columns = min(panel, size - column)
                BFloat16Product.multiply(
                    weights, stride: keys,
                    packed.valuePanel(piece.sequence, head: head, first: firstKey, column: column), pairs: keys / 2,
                    into: outputs, stride: columns, rows: queries.count, columns: columns)
                for row in 0..<queries.count {
                    let out =
                        mixed.row(piece.sequence.lowerBound + queries.lowerBound + row) + piece.head * size + column
                    Kernels.round(outputs + row * columns, times: norms[row], into: out, columns)
                }
            }
        }
        return mixed
    }
}
