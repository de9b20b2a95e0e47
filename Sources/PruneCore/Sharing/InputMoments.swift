// SPDX-License-Identifier: Apache-2.0
/// The second moments E x x^T of what a projection is given, over tokens, as running sums in double.
///
/// Tokens are added in chunks and tiles of fixed size, so that results do not depend on the thread count.
struct InputMoments: Sendable {
    /// Tokens multiplied together, and rows and columns of the sum that one thread adds to at a time.
    private static let rowsPerChunk = 1024
    private static let tileSize = 256

    let width: Int
    private(set) var tokens = 0
    /// Tiles above the diagonal hold nothing.
    private var sum: [Double]

    init(width: Int) {
        self.width = width
        sum = Array(repeating: 0, count: width * width)
    }

    static func bytes(width: Int) -> Int { width.times(clamping: width).times(clamping: MemoryLayout<Double>.stride) }

    /// Adds rows x width values. Returns false if one is not finite; discard the moments then. Errors: `.memory`.
    mutating func add(_ x: FloatBuffer, rows: Int, _ scratch: BufferPool) throws(PruneError) -> Bool {
        let width = width
        for first in stride(from: 0, to: rows, by: Self.rowsPerChunk) {
            let count = min(Self.rowsPerChunk, rows - first)
            let room = try scratch.buffer(2 * count * width)
            let wide = room.doubles
            forEachPiece(of: count) { piece in
                // Safe: the room holds count x width doubles, and a piece's rows are its own.
                for index in piece.lowerBound * width..<piece.upperBound * width {
                    wide[index] = Double(x.pointer[first * width + index])
                }
            }
            guard (0..<count * width).allSatisfy({ wide[$0].isFinite }) else { return false }
            addTiles(wide, rows: count)
            tokens += count
        }
        return true
    }

    private mutating func addTiles(_ wide: UnsafeMutablePointer<Double>, rows: Int) {
        let (width, size) = (width, Self.tileSize)
        let starts = Array(stride(from: 0, to: width, by: size))
        let tiles = starts.flatMap { row in starts.filter { $0 <= row }.map { (row: row, column: $0) } }
        sum.withUnsafeMutableBufferPointer { sum in
            // Safe: the sum is width x width, tiles do not overlap, and the closures do not outlive the call.
            guard let sum = sum.baseAddress else { return }
            nonisolated(unsafe) let (out, x) = (sum, wide)
            BLAS.singleThreaded {
                ThreadPool.forEach(tiles.count) { index, _ in
                    let tile = tiles[index]
                    BLAS.addTransposingLeft(
                        m: min(size, width - tile.row), n: min(size, width - tile.column), k: rows, x + tile.row, width,
                        x + tile.column, width, to: out + tile.row * width + tile.column, width)
                }
            }
        }
    }

    /// The mean over at least one token.
    var mean: SquareMatrix {
        var matrix = SquareMatrix(width)
        let scale = 1 / Double(max(tokens, 1))
        for row in 0..<width {
            for column in 0...row { matrix[column, row] = sum[row * width + column] * scale }
        }
        matrix.copyUpperTriangle()
        return matrix
    }
}
