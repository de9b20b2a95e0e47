// SPDX-License-Identifier: Apache-2.0
/// Some queries of one head of one sequence, in memory of which rows are `stride` apart.
private struct QueryTile {
    /// Positions in the sequence.
    let queries: Range<Int>
    /// Keys that one of them sees, from and to multiples of 64.
    let keys: Range<Int>
    let window: Int?
    /// The queries in fp32, and rounded after scaling.
    let query: UnsafePointer<Float>
    let scaledQuery: UnsafePointer<UInt16>
    /// The gradients of what the head gives, in both forms.
    let d: UnsafePointer<Float>
    let roundedD: UnsafePointer<UInt16>
    /// Where the gradients of the queries go.
    let gradient: UnsafeMutablePointer<Float>
    let stride: Int

    /// How many of the first queries come before a key and all that follow it: an even number.
    func blind(to key: Int) -> Int { max(0, key - queries.lowerBound) / 2 * 2 }

    /// The keys that a query sees, counted from `keys.lowerBound`.
    func visible(_ position: Int) -> Range<Int> {
        (window.map { max(0, position - $0 + 1) } ?? 0) - keys.lowerBound..<position + 1 - keys.lowerBound
    }
}

/// Pulls attention back over one key and value head of a sequence at a time, on one thread, in bf16.
///
/// Keys and values stand as panels, so that a tile of queries meets 64 of them at a time. The gradients of keys and values
/// are summed in fp32 over all tiles.
private struct AttentionPullback {
    /// Queries at a time: whole sixes, as the product takes them.
    static let tile = 72
    static let panel = BFloat16Product.panelColumns

    let headSize: Int
    /// On the products of queries and keys.
    let scale: Float
    /// Panels of 64 keys: their products with queries are scores.
    private let keys: FloatBuffer
    /// Panels of 64 values: their products with gradients of outputs are gradients of the weights.
    private let values: FloatBuffer
    /// Panels of up to 64 of the head's columns, all keys long: their products with gradients of scores are those
    /// of queries.
    private let keyColumns: FloatBuffer
    /// Gradients of keys and values: one row of the head per key.
    private let keySums, valueSums: FloatBuffer
    /// tile x keys: scores, and the gradients of the weights of the values.
    private let scores, weightGradients: FloatBuffer
    /// tile x keys: the weights of the values, and the gradients of scores.
    private let weights, scoreGradients: BFloat16Rows
    /// One or the other for one panel of keys: 64 x tile.
    private let transposed: BFloat16Rows
    /// Panels of up to 64 of the head's columns, all queries of a tile long.
    private let queryColumns, outputColumns: FloatBuffer
    /// Values from one row of scores to the next: no power of two, since rows would then share few places of the caches.
    private let stride: Int

    /// - Parameters:
    ///   - longest: keys of a sequence at most.
    ///   - mostKeys: keys that a tile sees at most. Both are whole panels.
    init(longest: Int, mostKeys: Int, headSize: Int, scale: Float, _ scratch: BufferPool) throws(PruneError) {
        self.scale = scale
        let columns = BFloat16Product.roundedUp(headSize)
        self.headSize = headSize
        stride = mostKeys + 16
        keys = try scratch.buffer(longest * headSize / 2)
        values = try scratch.buffer(longest * headSize / 2)
        keyColumns = try scratch.buffer(longest * columns / 2)
        keySums = try scratch.buffer(longest * headSize)
        valueSums = try scratch.buffer(longest * headSize)
        scores = try scratch.buffer(Self.tile * stride)
        weightGradients = try scratch.buffer(Self.tile * stride)
        weights = try BFloat16Rows(rows: Self.tile, columns: stride, scratch)
        scoreGradients = try BFloat16Rows(rows: Self.tile, columns: stride, scratch)
        transposed = try BFloat16Rows(rows: Self.panel, columns: Self.tile, scratch)
        queryColumns = try scratch.buffer(Self.tile * columns / 2)
        outputColumns = try scratch.buffer(Self.tile * columns / 2)
    }

    static func padded(_ keys: Int) -> Int { (keys + panel - 1) / panel * panel }

    /// Packs `count` keys and values, whose rows are `stride` apart, and starts the sums at 0.
    func start(_ key: UnsafePointer<Float>, _ value: UnsafePointer<Float>, stride: Int, count: Int) {
        let padded = Self.padded(count)
        for (rows, panels) in [(key, keys.halves), (value, values.halves)] {
            // Columns beyond the last key must be 0.
            let last = (padded - Self.panel) * headSize
            (panels + last).update(repeating: 0, count: Self.panel * headSize)
            for first in Swift.stride(from: 0, to: count, by: Self.panel) {
                BFloat16Product.packRows(
                    rows + first * stride, stride: stride, count: min(Self.panel, count - first), inputs: headSize,
                    width: Self.panel, into: panels + first * headSize)
            }
        }
        forEachHeadPanel { columns, width in
            let panel = keyColumns.halves + columns.lowerBound * padded
            BFloat16Product.packColumns(
                key + columns.lowerBound, stride: stride, inputs: count, columns: columns.count, width: width,
                into: panel)
            let packed = (count + 1) / 2 * 2
            (panel + packed * width).update(repeating: 0, count: (padded - packed) * width)
        }
        for sums in [keySums, valueSums] { sums.pointer.update(repeating: 0, count: padded * headSize) }
    }

    /// Calls `body` with the head's columns, 64 at a time, and how wide their panel is.
    private func forEachHeadPanel(_ body: (_ columns: Range<Int>, _ width: Int) -> Void) {
        for first in Swift.stride(from: 0, to: headSize, by: Self.panel) {
            let columns = first..<min(first + Self.panel, headSize)
            body(columns, BFloat16Product.roundedUp(columns.count))
        }
    }

    /// Gives the gradients of a tile's queries, and adds to those of the keys and values that they see.
    ///
    /// - Parameter count: keys of the sequence.
    func add(_ tile: QueryTile, count: Int) {
        makeScores(tile)
        let keys = tile.keys.count
        forEachHeadPanel { columns, width in
            let panel = keyColumns.halves + columns.lowerBound * Self.padded(count) + tile.keys.lowerBound * width
            BFloat16Product.multiply(
                scoreGradients.pointer, stride: stride, panel, pairs: keys / 2,
                into: tile.gradient + columns.lowerBound, stride: tile.stride, rows: tile.queries.count,
                columns: columns.count)
        }
        add(weights, tile.d, tile, outputColumns, to: valueSums)
        add(scoreGradients, tile.query, tile, queryColumns, to: keySums)
    }

    /// The weights of the values that a tile sees, and the gradients of its scores, rounded.
    private func makeScores(_ tile: QueryTile) {
        for key in Swift.stride(from: tile.keys.lowerBound, to: tile.keys.upperBound, by: Self.panel) {
            let blind = tile.blind(to: key)
            let (queries, place) = (tile.queries.count - blind, blind * stride + key - tile.keys.lowerBound)
            BFloat16Product.multiply(
                tile.scaledQuery + blind * tile.stride, stride: tile.stride, keys.halves + key * headSize,
                pairs: headSize / 2, into: scores.pointer + place, stride: stride, rows: queries, columns: Self.panel)
            BFloat16Product.multiply(
                tile.roundedD + blind * tile.stride, stride: tile.stride, values.halves + key * headSize,
                pairs: headSize / 2, into: weightGradients.pointer + place, stride: stride, rows: queries,
                columns: Self.panel)
        }
        for (row, position) in tile.queries.enumerated() {
            let visible = tile.visible(position)
            let place = row * stride + visible.lowerBound
            for lines in [weights, scoreGradients] {
                let line = lines.row(row)
                line.update(repeating: 0, count: visible.lowerBound)
                (line + visible.upperBound).update(repeating: 0, count: tile.keys.count - visible.upperBound)
            }
            Kernels.softmaxPullback(
                scores.pointer + place, weightGradients.pointer + place, scale: scale,
                probabilities: weights.pointer + place, into: scoreGradients.pointer + place, visible.count)
        }
    }

    /// sums += lines^T * rows, with lines: queries x keys, and rows: queries x headSize.
    private func add(
        _ lines: BFloat16Rows, _ rows: UnsafePointer<Float>, _ tile: QueryTile, _ panels: FloatBuffer,
        to sums: FloatBuffer
    ) {
        let queries = tile.queries.count
        forEachHeadPanel { columns, width in
            BFloat16Product.packColumns(
                rows + columns.lowerBound, stride: tile.stride, inputs: queries, columns: columns.count, width: width,
                into: panels.halves + columns.lowerBound * Self.tile)
        }
        for key in Swift.stride(from: tile.keys.lowerBound, to: tile.keys.upperBound, by: Self.panel) {
            let blind = tile.blind(to: key)
            BFloat16Product.transpose(
                lines.pointer + blind * stride + key - tile.keys.lowerBound, stride: stride, count: queries - blind,
                columns: Self.panel, into: transposed.pointer, stride: transposed.stride)
            forEachHeadPanel { columns, width in
                let sum = sums.pointer + key * headSize + columns.lowerBound
                BFloat16Product.multiply(
                    transposed.pointer, stride: transposed.stride,
                    panels.halves + columns.lowerBound * Self.tile + blind * width, pairs: (queries - blind + 1) / 2,
                    start: sum, into: sum, stride: headSize, rows: Self.panel,
                    columns: columns.count)
            }
        }
    }

    /// Copies the gradients of `count` keys and values to rows that are `stride` apart.
    func finish(
        _ key: UnsafeMutablePointer<Float>, _ value: UnsafeMutablePointer<Float>, stride: Int, count: Int
    ) {
        for row in 0..<count {
            (key + row * stride).update(from: keySums.pointer + row * headSize, count: headSize)
            (value + row * stride).update(from: valueSums.pointer + row * headSize, count: headSize)
        }
    }
}

extension NativeModel {
    /// See `pullbackMix`.
    func pullbackMixRounded(
        _ rows: AttentionRows, _ d: FloatBuffer, _ sequences: [Range<Int>], _ layer: AttentionWeights,
        into gradients: AttentionRows
    ) throws(PruneError) {
        let window = layer.plan.window
        let size = config.headSize
        let (queryStride, keyStride) = (config.headCount * size, config.kvHeadCount * size)
        let group = config.headCount / config.kvHeadCount
        let tile = AttentionPullback.tile
        let panel = AttentionPullback.panel
        let count = d.count / queryStride
        let query = try BFloat16Rows(
            rounding: rows.query.pointer, times: layer.plan.scale, rows: count, columns: queryStride,
            scratch)
        let roundedD = try BFloat16Rows(rounding: d.pointer, rows: count, columns: queryStride, scratch)
        let longest = sequences.map(\.count).max() ?? 0
        // Whole panels: a tile sees at most window + tile - 1 keys, and up to a panel more at each end.
        let mostKeys = AttentionPullback.padded(min(longest, (window ?? longest) + tile + panel))
        let pieces = attentionPullbackPieces(sequences)
        let rooms = try (0..<min(ThreadPool.threads, pieces.count)).map { _ throws(PruneError) in
            try AttentionPullback(
                longest: AttentionPullback.padded(longest), mostKeys: mostKeys, headSize: size,
                scale: layer.plan.scale, scratch)
        }
        ThreadPool.forEach(pieces.count, slots: rooms.count) { index, slot in
            let (kvHead, sequence, room) = (pieces[index].kvHead, pieces[index].sequence, rooms[slot])
            let keyOffset = sequence.lowerBound * keyStride + kvHead * size
            room.start(
                rows.key.pointer + keyOffset, rows.value.pointer + keyOffset, stride: keyStride, count: sequence.count)
            for head in kvHead * group..<(kvHead + 1) * group {
                for first in stride(from: 0, to: sequence.count, by: tile) {
                    let queries = first..<min(first + tile, sequence.count)
                    let firstSeen = window.map { max(0, queries.lowerBound - $0 + 1) } ?? 0
                    let offset = (sequence.lowerBound + first) * queryStride + head * size
                    let own = QueryTile(
                        queries: queries,
                        keys: firstSeen / panel * panel..<AttentionPullback.padded(queries.upperBound),
                        window: window, query: rows.query.pointer + offset, scaledQuery: query.pointer + offset,
                        d: d.pointer + offset, roundedD: roundedD.pointer + offset,
                        gradient: gradients.query.pointer + offset, stride: queryStride)
                    room.add(own, count: sequence.count)
                }
            }
            room.finish(
                gradients.key.pointer + keyOffset, gradients.value.pointer + keyOffset, stride: keyStride,
                count: sequence.count)
        }
    }
}
