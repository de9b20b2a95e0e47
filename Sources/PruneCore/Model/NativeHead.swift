#if canImport(Glibc)
internal import Glibc
#elseif canImport(Darwin)
internal import Darwin
#endif

/// Tokens and vocabulary entries of a tile of logits, which is made and used up on one thread.
private let tileTokens = 1024
private let tileEntries = 1024

extension NativeModel {
    public func losses(_ state: any HiddenState, at rows: [Int]) throws(PruneError) -> [Float] {
        let state = try native(state)
        let batch = state.batch
        var losses: [Float] = []
        losses.reserveCapacity(rows.count)
        for first in stride(from: 0, to: rows.count, by: tileTokens) {
            let part = Array(rows[first..<min(first + tileTokens, rows.count)])
            let targets = part.map { Int(batch.data.tokens[batch.tokens.lowerBound + $0 + 1]) }
            losses += try BLAS.singleThreaded { () throws(PruneError) in
                try negativeLogLikelihoods(try finalNormed(state, at: part), targets)
            }
        }
        return losses
    }

    public func distances(
        _ state: any HiddenState, to reference: any HiddenState, _ kind: LogitDistance, at rows: [Int]
    ) throws(PruneError) -> [Float] {
        let state = try native(state)
        let reference = try native(reference)
        guard state.batch === reference.batch else {
            throw PruneError(.internal, "logits of two different batches were compared")
        }
        var distances: [Float] = []
        distances.reserveCapacity(rows.count)
        for first in stride(from: 0, to: rows.count, by: tileTokens) {
            let part = Array(rows[first..<min(first + tileTokens, rows.count)])
            distances += try BLAS.singleThreaded { () throws(PruneError) in
                let difference = try finalNormed(state, at: part)
                let other = try finalNormed(reference, at: part)
                switch kind {
                case .l2:
                    // The head is linear, so the logits differ by the head of the difference: one product for both.
                    Kernels.subtract(other.pointer, from: difference.pointer, difference.count)
                    return try logitNorms(difference, rows: part.count)
                }
            }
        }
        return distances
    }

    public func logits(
        _ state: any HiddenState, at rows: Range<Int>, into out: inout MutableSpan<Float>
    ) throws(PruneError) {
        let state = try native(state)
        guard out.count == rows.count * config.vocabularySize else {
            throw PruneError(.internal, "room for \(out.count) logits where \(rows.count) tokens have more or fewer")
        }
        var failure: PruneError?
        out.withUnsafeMutableBufferPointer { out in
            guard let base = out.baseAddress else { return }
            do throws(PruneError) {
                try BLAS.singleThreaded { () throws(PruneError) in
                    let x = try finalNormed(state, at: Array(rows))
                    try MatrixProduct.apply(
                        x.pointer, tokens: rows.count, weights.head, into: base, stride: config.vocabularySize,
                        scratch: scratch)
                }
            } catch { failure = error }
        }
        if let failure { throw failure }
    }

    /// finalNorm(h) of some rows, one after the other.
    private func finalNormed(_ state: NativeState, at rows: [Int]) throws(PruneError) -> FloatBuffer {
        let width = config.hiddenSize
        let gain = try weights.finalNorm.gain.floats(scratch)
        let x = try scratch.buffer(rows.count * width)
        let finalNorm = weights.finalNorm
        forEachPiece(of: rows.count) { piece in
            for place in piece {
                (x.pointer + place * width).update(from: state.values.pointer + rows[place] * width, count: width)
            }
            finalNorm.apply(x.pointer, rows: piece, width: width, gain: gain, into: x.pointer)
        }
        return x
    }

    /// Calls `body` on all threads with tiles of logits: rows x (vocabulary entries of the tile).
    private func forEachLogitTile(
        _ x: FloatBuffer, rows: Int, _ tiling: Tiling,
        _ body: @escaping (_ logits: UnsafeMutablePointer<Float>, _ tile: Tile) -> Void
    ) throws(PruneError) {
        let width = config.hiddenSize
        let tileFloats = rows * tiling.rowsPerTile
        let logits = try scratch.buffer(tileFloats * tiling.slots)
        try MatrixProduct.forEachTile(of: weights.head, tiling, scratch: scratch) { weights, tile in
            let own = logits.pointer + tile.slot * tileFloats
            let entries = tile.rows.count
            BLAS.multiplyTransposed(m: rows, n: entries, k: width, x.pointer, width, weights, width, own, entries)
            body(own, tile)
        }
    }

    /// log(sum exp(logits)) - logit of the target, for each row of x. Each tile leaves its largest logit and the sum of
    /// exponentials relative to it; the parts are put together in double.
    private func negativeLogLikelihoods(_ x: FloatBuffer, _ targets: [Int]) throws(PruneError) -> [Float] {
        let rows = targets.count
        let tiling = Tiling(weights.head, atMost: tileEntries)
        let tops = try scratch.buffer(tiling.count * rows)
        let sums = try scratch.buffer(tiling.count * rows)
        let chosen = try scratch.buffer(rows)
        try forEachLogitTile(x, rows: rows, tiling) { logits, tile in
            let entries = tile.rows.count
            for row in 0..<rows {
                let own = logits + row * entries
                let place = row * tiling.count + tile.index
                let top = Kernels.maximum(own, entries)
                tops.pointer[place] = top
                sums.pointer[place] = Kernels.sumOfExponentials(own, shift: top, entries)
                if tile.rows.contains(targets[row]) { chosen.pointer[row] = own[targets[row] - tile.rows.lowerBound] }
            }
        }
        return (0..<rows).map { row in
            let parts = row * tiling.count..<(row + 1) * tiling.count
            let top = Kernels.maximum(tops.pointer + parts.lowerBound, tiling.count)
            let sum = parts.reduce(0.0) { $0 + Double(sums.pointer[$1]) * exp(Double(tops.pointer[$1] - top)) }
            return Float(log(sum) + Double(top) - Double(chosen.pointer[row]))
        }
    }

    /// Euclidean norm of head * x, for each row of x.
    private func logitNorms(_ x: FloatBuffer, rows: Int) throws(PruneError) -> [Float] {
        let tiling = Tiling(weights.head, atMost: tileEntries)
        let squares = try scratch.buffer(tiling.count * rows)
        try forEachLogitTile(x, rows: rows, tiling) { logits, tile in
            let entries = tile.rows.count
            for row in 0..<rows {
                squares.pointer[row * tiling.count + tile.index] = Kernels.sumOfSquares(logits + row * entries, entries)
            }
        }
        return (0..<rows).map { row in
            let parts = row * tiling.count..<(row + 1) * tiling.count
            return Float(parts.reduce(0.0) { $0 + Double(squares.pointer[$1]) }.squareRoot())
        }
    }
}
