// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// A row of a state whose logits are wanted.
struct LogitRow: Equatable {
    let state: NativeState
    let row: Int

    static func == (a: LogitRow, b: LogitRow) -> Bool { a.state === b.state && a.row == b.row }
}

extension NativeModel {
    public func losses(
        _ state: any HiddenState, at rows: [Int], of tokens: [Int32]
    ) throws(PruneError) -> [Float] {
        try losses([LossRequest(state: state, rows: rows, tokens: tokens)])[0]
    }

    public func losses(_ requests: [LossRequest]) throws(PruneError) -> [[Float]] {
        switch compute {
        // Each request is products of its own: BLAS rounds a row differently when a product has more rows.
        case .float32: try requests.map { request throws(PruneError) in try losses(together: [request])[0] }
        case .bfloat16: try losses(together: requests)
        }
    }

    private func losses(together requests: [LossRequest]) throws(PruneError) -> [[Float]] {
        let rowCount = requests.reduce(0) { $0 + $1.rows.count }
        try Memory.require(128 * rowCount, for: "losses of \(rowCount) tokens", "use fewer tokens per batch")
        let vocabulary = 0..<Int32(clamping: config.vocabularySize)
        var places: [LogitRow] = []
        var tokens: [Int32] = []
        for request in requests {
            guard request.rows.count == request.tokens.count, request.tokens.allSatisfy(vocabulary.contains) else {
                throw PruneError(
                    .internal, "losses were asked of tokens outside the vocabulary, or not of one token a row")
            }
            let state = try settledAtEnd(request.state)
            places += request.rows.map { LogitRow(state: state, row: $0) }
            tokens += request.tokens
        }
        var losses: [Float] = []
        losses.reserveCapacity(places.count)
        for first in stride(from: 0, to: places.count, by: LogitTile.rows(compute)) {
            // A row that is asked of several tokens, one after the other, is computed once.
            var own: [LogitRow] = []
            var targets: [Target] = []
            for place in first..<min(first + LogitTile.rows(compute), places.count) {
                if own.last != places[place] { own.append(places[place]) }
                targets.append(Target(row: own.count - 1, token: Int(tokens[place])))
            }
            losses += try readingHead { () throws(PruneError) in
                try BLAS.products(in: compute) { () throws(PruneError) in
                    try negativeLogLikelihoods(try finalNormed(own), rows: own.count, targets)
                }
            }
        }
        var next = 0
        return requests.map { request in
            defer { next += request.rows.count }
            return Array(losses[next..<next + request.rows.count])
        }
    }

    /// A token whose probability is wanted, and the row of a buffer that predicts it.
    private struct Target {
        let row: Int
        let token: Int
    }

    /// log(sum exp(logits)) - logit of the token, for each target.
    private func negativeLogLikelihoods(
        _ x: FloatBuffer, rows: Int, _ targets: [Target]
    ) throws(PruneError) -> [Float] {
        let tiling = logitTiling
        let exponentials = try TiledExponentials(rows: rows, tiles: tiling.count, scratch)
        let chosen = try scratch.buffer(targets.count)
        // The targets of a row stand side by side, in the order of the rows.
        var firstOfRow = Array(repeating: targets.count, count: rows + 1)
        for (place, target) in targets.enumerated().reversed() { firstOfRow[target.row] = place }
        let firstTargets = firstOfRow
        try forEachLogitTile([x], rows: rows, tiling) { tile in
            for row in tile.rows { exponentials.add(tile.logits(row), tile.entries.count, row: row, tile: tile.index) }
            for place in firstTargets[tile.rows.lowerBound]..<firstTargets[tile.rows.upperBound]
            where tile.entries.contains(targets[place].token) {
                chosen.pointer[place] = tile.logits(targets[place].row)[targets[place].token - tile.entries.lowerBound]
            }
        }
        let logSums = (0..<rows).map(exponentials.logSum)
        return targets.indices.map { Float(logSums[targets[$0].row] - Double(chosen.pointer[$0])) }
    }
}

/// Sums of exponentials over rows of logits that come in tiles: each tile leaves its largest logit and the sum relative to
/// it; the parts are put together in double. Tiles of one row may come from several threads, each tile once.
struct TiledExponentials {
    private let tiles: Int
    private let tops: FloatBuffer
    private let sums: FloatBuffer

    init(rows: Int, tiles: Int, _ scratch: BufferPool) throws(PruneError) {
        self.tiles = tiles
        tops = try scratch.buffer(rows * tiles)
        sums = try scratch.buffer(rows * tiles)
    }

    func add(_ logits: UnsafePointer<Float>, _ count: Int, row: Int, tile: Int) {
        let top = Kernels.maximum(logits, count)
        set(top: top, sum: Kernels.sumOfExponentials(logits, shift: top, count), row: row, tile: tile)
    }

    /// The parts of a tile, if they are known: its largest logit, and the sum of exp(logit - top).
    func set(top: Float, sum: Float, row: Int, tile: Int) {
        tops.pointer[row * tiles + tile] = top
        sums.pointer[row * tiles + tile] = sum
    }

    /// The parts of a tile whose logits are those that `other` was given.
    func setEqual(to other: TiledExponentials, row: Int, tile: Int) {
        let place = row * tiles + tile
        set(top: other.tops.pointer[place], sum: other.sums.pointer[place], row: row, tile: tile)
    }

    /// log(sum exp(logits)) of a row.
    func logSum(row: Int) -> Double {
        let top = Kernels.maximum(tops.pointer + row * tiles, tiles)
        return log(total(of: sums, row: row, relativeTo: top)) + Double(top)
    }

    /// The mean of a quantity under the softmax of a row; `parts` holds sum(quantity * exp(logit - top)) of each tile,
    /// rows x tiles.
    func mean(of parts: FloatBuffer, row: Int) -> Double {
        let top = Kernels.maximum(tops.pointer + row * tiles, tiles)
        return total(of: parts, row: row, relativeTo: top) / total(of: sums, row: row, relativeTo: top)
    }

    private func total(of parts: FloatBuffer, row: Int, relativeTo top: Float) -> Double {
        (row * tiles..<(row + 1) * tiles).reduce(0.0) {
            $0 + Double(parts.pointer[$1]) * exp(Double(tops.pointer[$1] - top))
        }
    }
}
