// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// The largest fp32 number that is at most ln 2, the bound of the Jensen-Shannon divergence.
let largestDivergence: Float = 0x1.62e42ep-1

extension NativeModel {
    public func distances(
        _ state: any HiddenState, to reference: any HiddenState, _ kind: LogitDistance, at rows: [Int]
    ) throws(PruneError) -> [Float] {
        let state = try settledAtEnd(state)
        let reference = try settledAtEnd(reference)
        guard state.batch === reference.batch else {
            throw PruneError(.internal, "logits of two different batches were compared")
        }
        // Divergences need the logits of both.
        let most = LogitTile.rows(compute) / (kind == .l2 ? 1 : 2)
        var distances: [Float] = []
        distances.reserveCapacity(rows.count)
        for first in stride(from: 0, to: rows.count, by: most) {
            let part = Array(rows[first..<min(first + most, rows.count)])
            distances += try readingHead { () throws(PruneError) in
                try BLAS.products(in: compute) { () throws(PruneError) in
                    let own = try finalNormed(state, at: part)
                    let other = try finalNormed(reference, at: part)
                    return switch kind {
                    case .l2: try logitNorms(own, less: other, rows: part.count)
                    case .kl: try relativeEntropies(of: other, from: own, rows: part.count)
                    case .js: try divergences(other, own, rows: part.count)
                    }
                }
            }
        }
        return distances
    }

    /// Euclidean norm of the differences of logits, for each row. Where the head is linear, head * (x - y) is one product for
    /// both; x is used up.
    private func logitNorms(_ x: FloatBuffer, less y: FloatBuffer, rows: Int) throws(PruneError) -> [Float] {
        let isLinear = try LogitFinish(self).isNothing
        if isLinear { Kernels.subtract(y.pointer, from: x.pointer, x.count) }
        let tiling = logitTiling
        let squares = try scratch.buffer(tiling.count * rows)
        try forEachLogitTile(isLinear ? [x] : [x, y], rows: rows, tiling) { tile in
            let entries = tile.entries.count
            for row in tile.rows {
                let own = isLinear ? tile.logits(row) : tile.differences(row)
                squares.pointer[row * tiling.count + tile.index] = Kernels.sumOfSquares(own, entries)
            }
        }
        return (0..<rows).map { row in
            let parts = row * tiling.count..<(row + 1) * tiling.count
            return Float(parts.reduce(0.0) { $0 + Double(squares.pointer[$1]) }.squareRoot())
        }
    }

    /// KL(p || q) with p = softmax(head * x), q = softmax(head * y), for each row, in one pass: with a and b the logits, it
    /// is E_p[a - b] - logSumExp(a) + logSumExp(b). Rounding that makes it negative is taken away. Equal logits have one
    /// sum of exponentials, so that they are exactly 0 apart: the loop that sums differences rounds that sum otherwise.
    private func relativeEntropies(of x: FloatBuffer, from y: FloatBuffer, rows: Int) throws(PruneError) -> [Float] {
        let tiling = logitTiling
        let first = try TiledExponentials(rows: rows, tiles: tiling.count, scratch)
        let second = try TiledExponentials(rows: rows, tiles: tiling.count, scratch)
        let differences = try scratch.buffer(tiling.count * rows)
        try forEachLogitTile([x, y], rows: rows, tiling) { tile in
            let entries = tile.entries.count
            for row in tile.rows {
                let a = tile.logits(row)
                let b = tile.logits(row, of: 1)
                let place = row * tiling.count + tile.index
                second.add(b, entries, row: row, tile: tile.index)
                if memcmp(a, b, entries * MemoryLayout<Float>.stride) == 0 {
                    first.setEqual(to: second, row: row, tile: tile.index)
                    differences.pointer[place] = 0
                    continue
                }
                let top = Kernels.maximum(a, entries)
                let sums = Kernels.sumsOfExponentials(a, weighing: b, shift: top, entries)
                first.set(top: top, sum: sums.weight, row: row, tile: tile.index)
                differences.pointer[place] = sums.sum
            }
        }
        return (0..<rows).map { row in
            let value = first.mean(of: differences, row: row) - first.logSum(row: row) + second.logSum(row: row)
            return value < 0 ? 0 : Float(value)
        }
    }

    /// The Jensen-Shannon divergence of softmax(head * x) and softmax(head * y), for each row. Two passes: the
    /// probabilities of both have to be known before their mixture.
    private func divergences(_ x: FloatBuffer, _ y: FloatBuffer, rows: Int) throws(PruneError) -> [Float] {
        let tiling = logitTiling
        let first = try TiledExponentials(rows: rows, tiles: tiling.count, scratch)
        let second = try TiledExponentials(rows: rows, tiles: tiling.count, scratch)
        try forEachLogitTile([x, y], rows: rows, tiling) { tile in
            let entries = tile.entries.count
            for row in tile.rows {
                first.add(tile.logits(row), entries, row: row, tile: tile.index)
                second.add(tile.logits(row, of: 1), entries, row: row, tile: tile.index)
            }
        }
        let logSums = (0..<rows).map(first.logSum)
        // The difference is rounded after it is taken: where the two are near, it keeps its digits.
        let deltas = (0..<rows).map { Float(second.logSum(row: $0) - logSums[$0]) }
        let parts = try scratch.buffer(tiling.count * rows)
        try forEachLogitTile([x, y], rows: rows, tiling) { tile in
            let entries = tile.entries.count
            for row in tile.rows {
                parts.pointer[row * tiling.count + tile.index] = Kernels.divergence(
                    tile.logits(row), tile.logits(row, of: 1), logSum: Float(logSums[row]), delta: deltas[row], entries)
            }
        }
        return (0..<rows).map { row in
            let places = row * tiling.count..<(row + 1) * tiling.count
            let value = Float(places.reduce(0.0) { $0 + Double(parts.pointer[$1]) } / 2)
            return value < 0 ? 0 : value > largestDivergence ? largestDivergence : value
        }
    }
}
