// SPDX-License-Identifier: Apache-2.0
/// Rows of doubles about their mean, with room for one row more.
struct CentredRows {
    let rows: Int
    let width: Int
    let mean: [Double]
    /// Sum of the squares of all centred values.
    let squares: Double
    private let buffer: FloatBuffer

    /// Rows that one thread fills at a time. Fixed, so that results do not depend on the thread count.
    private static let rowsPerPiece = 128

    /// - Parameter fill: writes a row, and adds it to a sum of rows. Called on all threads.
    /// Errors: `.memory`.
    init(
        rows: Int, width: Int, _ scratch: BufferPool,
        _ fill: @escaping (_ row: Int, _ out: UnsafeMutablePointer<Double>, _ sum: UnsafeMutablePointer<Double>) -> Void
    ) throws(PruneError) {
        self.rows = rows
        self.width = width
        let buffer = try scratch.buffer(2 * (rows + 1) * width)
        self.buffer = buffer
        let values = buffer.doubles
        let pieces = stride(from: 0, to: rows, by: Self.rowsPerPiece).map { $0..<min(rows, $0 + Self.rowsPerPiece) }
        let sums = mapOnAllThreads(pieces) { piece -> [Double]? in
            var sum = [Double](repeating: 0, count: width)
            sum.withUnsafeMutableBufferPointer { sum in
                // Safe: a sum has `width` values, and each row is written by one thread.
                guard let sum = sum.baseAddress else { return }
                for row in piece { fill(row, values + row * width, sum) }
            }
            return sum
        }
        var total = [Double](repeating: 0, count: width)
        for sum in sums ?? [] {
            for place in total.indices { total[place] += sum[place] }
        }
        let mean = total.map { $0 / Double(max(rows, 1)) }
        self.mean = mean
        let squares = mapOnAllThreads(pieces) { piece -> Double? in
            mean.withUnsafeBufferPointer { mean -> Double? in
                guard let mean = mean.baseAddress else { return nil }
                return piece.reduce(0) { $0 + Kernels.centre(values + $1 * width, about: mean, width) }
            }
        }
        self.squares = (squares ?? []).reduce(0, +)
    }

    var isFinite: Bool { squares.isFinite && mean.allSatisfy(\.isFinite) }

    /// rows x width values, and the row more. Safe while `self` lives: it owns them.
    var values: UnsafeMutablePointer<Double> { buffer.doubles }

    /// Makes the row more scale * (mean - other).
    func writeLastRow(from other: [Double], scaledBy scale: Double) {
        for place in 0..<width { values[rows * width + place] = scale * (mean[place] - other[place]) }
    }
}
