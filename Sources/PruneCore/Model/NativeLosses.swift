#if canImport(Glibc)
internal import Glibc
#elseif canImport(Darwin)
internal import Darwin
#endif

extension NativeModel {
    public func losses(
        _ state: any HiddenState, at rows: [Int], of tokens: [Int32]
    ) throws(PruneError) -> [Float] {
        let state = try native(state)
        let vocabulary = 0..<Int32(clamping: config.vocabularySize)
        guard rows.count == tokens.count, tokens.allSatisfy(vocabulary.contains) else {
            throw PruneError(.internal, "losses were asked of tokens outside the vocabulary, or not of one token a row")
        }
        var losses: [Float] = []
        losses.reserveCapacity(rows.count)
        for first in stride(from: 0, to: rows.count, by: LogitTile.tokens) {
            // A row that is asked of several tokens, one after the other, is computed once.
            var own: [Int] = []
            var targets: [Target] = []
            for place in first..<min(first + LogitTile.tokens, rows.count) {
                if own.last != rows[place] { own.append(rows[place]) }
                targets.append(Target(row: own.count - 1, token: Int(tokens[place])))
            }
            losses += try BLAS.singleThreaded { () throws(PruneError) in
                try negativeLogLikelihoods(try finalNormed(state, at: own), rows: own.count, targets)
            }
        }
        return losses
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
        try forEachLogitTile([x], rows: rows, tiling) { tile in
            for row in tile.rows { exponentials.add(tile.logits(row), tile.entries.count, row: row, tile: tile.index) }
            for (place, target) in targets.enumerated() where tile.holds(target.row, target.token) {
                chosen.pointer[place] = tile.logits(target.row)[target.token - tile.entries.lowerBound]
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
