// SPDX-License-Identifier: Apache-2.0
/// A stored matrix as the engine uses it: outputs x inputs.
struct StoredMatrix: Sendable {
    let tensor: StoredTensor
    let rows: Int
    let columns: Int

    /// `tensor` has the shape rows x columns.
    init(_ tensor: StoredTensor, rows: Int, columns: Int) {
        self.tensor = tensor
        self.rows = rows
        self.columns = columns
    }

    /// The elements, rows `stride` apart, where BLAS can read them as they are stored: fp32, on a boundary of four bytes.
    ///
    /// A file, or a host, may put tensors on any byte, so fp32 ones can need a copy too; and BLAS counts in 32 bits.
    var floats: UnsafePointer<Float>? {
        guard tensor.elementType == .float32, stride <= Int(Int32.max), let base = tensor.bytes.baseAddress,
            Int(bitPattern: base) % 4 == 0
        else { return nil }
        return base.assumingMemoryBound(to: Float.self)
    }

    /// Elements from one row to the next.
    var stride: Int { tensor.rowStride }

    /// Bytes from one row to the next.
    var rowBytes: Int { tensor.elementType.bytes(of: stride) }

    /// Whether each row begins where the one before it ends.
    var isContiguous: Bool { stride == columns }

    /// The products of some rows of the matrix and 1 to 4 vectors of `columns` values each, into out[vector * stride + row].
    func dot(
        _ outputs: Range<Int>, _ x: UnsafePointer<Float>, rows: Int, into out: UnsafeMutablePointer<Float>, stride: Int
    ) {
        guard let base = tensor.bytes.baseAddress else { return }
        Kernels.dot(
            base + outputs.lowerBound * rowBytes, tensor.elementType, outputs: outputs.count, stride: self.stride, x,
            stride: columns, rows: rows, columns, into: out + outputs.lowerBound, stride: stride)
    }

    /// Widens `count` rows from `first` on into rows without gaps. Safe: the tensor holds rows x columns elements, checked
    /// when it was opened.
    func widen(first: Int, count: Int, into out: UnsafeMutablePointer<Float>) {
        guard let base = tensor.bytes.baseAddress else { return }
        let type = tensor.elementType
        if isContiguous { return Kernels.widen(base + first * rowBytes, type, into: out, count * columns) }
        for row in 0..<count {
            Kernels.widen(base + (first + row) * rowBytes, type, into: out + row * columns, columns)
        }
    }
}

/// Activations x weights^T on all threads.
///
/// The outputs are cut into tiles. Each thread takes a tile, widens its weights to fp32 if they are stored in 16 bits
/// or in blocks, and multiplies with BLAS on itself alone. So such weights never stand widened in memory as a whole.
enum MatrixProduct {
    /// Rows for which the weights are read once as they are stored, without tiles: so few that memory sets the pace.
    static let fewRows = 4

    /// out = x * weight^T.
    ///
    /// - Parameters:
    ///   - x: tokens x inputs, contiguous.
    ///   - runs: how many rows of x belong together. Each run is a product of its own, so that its results do not depend on
    ///     what else is computed; BLAS rounds a row differently when a product has more rows.
    ///   - out: tokens x outputs, contiguous.
    ///   - scratch: where widened tiles come from.
    static func apply(
        _ x: UnsafePointer<Float>, runs: [Int], _ weight: StoredMatrix, into out: UnsafeMutablePointer<Float>,
        scratch: BufferPool
    ) throws(PruneError) {
        let (inputs, outputs) = (weight.columns, weight.rows)
        var long: [Range<Int>] = []
        var first = 0
        for count in runs {
            if count > fewRows {
                long.append(first..<first + count)
            } else {
                applyToFewRows(x + first * inputs, count, [(weight, out + first * outputs)])
            }
            first += count
        }
        guard !long.isEmpty else { return }
        let products = long
        try forEachTile(of: weight, scratch: scratch) { weights, tile in
            for rows in products {
                BLAS.multiplyTransposed(
                    m: rows.count, n: tile.rows.count, k: inputs, x + rows.lowerBound * inputs, inputs, weights,
                    tile.stride, out + rows.lowerBound * outputs + tile.rows.lowerBound, outputs)
            }
        }
    }

    /// out = x * weight^T for at most `fewRows` rows of x and every target: one pass over the stored weights at the speed of
    /// memory. Where `out` is the memory of one target, its rows are contiguous.
    static func applyToFewRows(
        _ x: UnsafePointer<Float>, _ tokens: Int,
        _ targets: [(weight: StoredMatrix, out: UnsafeMutablePointer<Float>)]
    ) {
        guard tokens > 0 else { return }
        let threads = ThreadPool.threads
        var pieces: [(target: Int, rows: Range<Int>)] = []
        // One piece a thread: the processor reads ahead in long stretches only.
        for (index, target) in targets.enumerated() {
            let rows = target.weight.rows
            for part in 0..<threads where rows * part / threads < rows * (part + 1) / threads {
                pieces.append((index, rows * part / threads..<rows * (part + 1) / threads))
            }
        }
        let all = pieces
        ThreadPool.forEach(all.count) { piece, _ in
            let (weight, out) = targets[all[piece].target]
            weight.dot(all[piece].rows, x, rows: tokens, into: out, stride: weight.rows)
        }
    }

    /// Calls `body` on all threads, once per tile of `weight`.
    ///
    /// - Parameters:
    ///   - tiling: how the rows are cut; nil = as suits the weight.
    ///   - body: given the tile's rows in fp32, `tile.stride` apart, and which tile it is.
    static func forEachTile(
        of weight: StoredMatrix, _ tiling: Tiling? = nil, scratch: BufferPool,
        _ body: @escaping (_ weights: UnsafePointer<Float>, _ tile: Tile) -> Void
    ) throws(PruneError) {
        let tiling = tiling ?? Tiling(weight)
        let floats = weight.floats
        let tileFloats = tiling.rowsPerTile * weight.columns
        let widened = floats == nil ? try scratch.buffer(tileFloats * tiling.slots) : nil
        ThreadPool.forEach(tiling.count, slots: tiling.slots) { index, slot in
            let first = index * tiling.rowsPerTile
            let tile = Tile(
                index: index, rows: first..<min(first + tiling.rowsPerTile, weight.rows), slot: slot,
                stride: floats == nil ? weight.columns : weight.stride)
            if let floats {
                body(floats + first * weight.stride, tile)
            } else if let widened {
                // Safe: the slot's part of the buffer belongs to this thread until the call returns.
                let place = widened.pointer + slot * tileFloats
                weight.widen(first: first, count: tile.rows.count, into: place)
                body(place, tile)
            }
        }
    }
}

/// Some rows of a stored matrix, worked on by one thread.
struct Tile {
    let index: Int
    let rows: Range<Int>
    /// The thread's slot: see `ThreadPool.forEach`.
    let slot: Int
    /// Floats from one of the rows to the next.
    let stride: Int
}

/// How the rows of a stored matrix are cut among the threads: the same however many there are, since BLAS rounds an output
/// differently in a product of another width.
struct Tiling {
    /// Bytes of widened weights that a thread holds at most; they should stay in the caches.
    private static let widenedBytes = 4 << 20

    let slots: Int
    let rowsPerTile: Int
    let count: Int

    /// Eight tiles or more of a large matrix, so that threads finish together; whole vectors of rows.
    init(_ weight: StoredMatrix, atMost most: Int = 512) {
        var rows = min(most, max(64, (weight.rows + 7) / 8))
        if weight.floats == nil { rows = min(rows, Self.widenedBytes / (4 * weight.columns)) }
        slots = ThreadPool.threads
        rowsPerTile = max(16, rows / 16 * 16)
        count = (weight.rows + rowsPerTile - 1) / rowsPerTile
    }
}
