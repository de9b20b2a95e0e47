// SPDX-License-Identifier: Apache-2.0
/// A tensor of a checkpoint that is put together from rows of stored matrices, in another order or layout, and perhaps
/// widened from blocks: written some rows at a time.
struct ConvertedTensor: Sendable {
    /// Rows of a stored matrix, and where they go.
    struct Piece: Sendable {
        let source: StoredMatrix
        /// The output that the first row becomes; the next is `step` further.
        var first = 0
        var step = 1
        /// Which row of the source is the n-th; nil = they come as they are.
        var order: [Int]?
    }

    /// outputs x inputs, or the other way round if transposed; with the number of experts before them.
    let shape: [Int]
    let elementType: ElementType
    let isTransposed: Bool
    /// Those of each matrix, which together give all its outputs. One matrix, or one per expert.
    let matrices: [[Piece]]

    private static let floatsAtATime = 1 << 21

    private var sizes: (outputs: Int, inputs: Int) {
        let (rows, columns) = (shape[shape.count - 2], shape[shape.count - 1])
        return isTransposed ? (columns, rows) : (rows, columns)
    }

    /// Appends all elements. Errors: `.nonFinite` for a number that the element type cannot hold; `.memory`; `.file` if a file
    /// of the weights changed; those of `append`.
    ///
    /// - Parameter name: for errors.
    func write(_ name: String, _ scratch: BufferPool, _ append: AtomicFile.Append) throws(PruneError) {
        let (outputs, inputs) = sizes
        // A transposed matrix is turned as a whole.
        let rows = isTransposed ? outputs : max(1, min(outputs, Self.floatsAtATime / max(inputs, 1)))
        let room = try scratch.buffer(rows * inputs)
        for pieces in matrices {
            for begin in stride(from: 0, to: outputs, by: rows) {
                let own = begin..<min(begin + rows, outputs)
                try gather(pieces, own, inputs, into: room.pointer)
                if isTransposed {
                    let turned = try scratch.buffer(own.count * inputs)
                    for row in 0..<own.count {
                        for column in 0..<inputs {
                            turned.pointer[column * outputs + row] = room.pointer[row * inputs + column]
                        }
                    }
                    try hand(name, turned.pointer, own.count * inputs, append)
                } else {
                    try hand(name, room.pointer, own.count * inputs, append)
                }
            }
        }
    }

    /// The outputs `own` of a matrix, in fp32.
    private func gather(
        _ pieces: [Piece], _ own: Range<Int>, _ inputs: Int, into out: UnsafeMutablePointer<Float>
    ) throws(PruneError) {
        for piece in pieces {
            let file = piece.source.tensor.mappedFile
            try reading(file.map { [$0] } ?? []) { () throws(PruneError) in
                for row in 0..<piece.source.rows {
                    let place = piece.first + row * piece.step
                    guard own.contains(place) else { continue }
                    piece.source.widen(
                        first: piece.order?[row] ?? row, count: 1, into: out + (place - own.lowerBound) * inputs)
                }
            }
        }
    }

    /// Rounds values to the element type, and appends them.
    private func hand(
        _ name: String, _ values: UnsafePointer<Float>, _ count: Int, _ append: AtomicFile.Append
    ) throws(PruneError) {
        let floats = UnsafeBufferPointer(start: values, count: count)
        switch elementType {
        case .float32: try append(UnsafeRawBufferPointer(floats))
        case .float16:
            var halves: [Float16] = []
            halves.reserveCapacity(count)
            for value in floats {
                let half = Float16(value)
                guard half.isFinite || !value.isFinite else {
                    throw PruneError(
                        .nonFinite,
                        "tensor \(name.quoted) holds \(value), which fp16 cannot hold; export with bf16 or fp32")
                }
                halves.append(half)
            }
            try SafetensorsWriter.write(halves, append)
        case .bfloat16:
            var rounded = [UInt16](repeating: 0, count: count)
            rounded.withUnsafeMutableBufferPointer { rounded in
                if let out = rounded.baseAddress { Kernels.round(values, into: out, count) }
            }
            try SafetensorsWriter.write(rounded, append)
        default:
            throw PruneError(.internal, "tensor \(name.quoted) is to be written as \(elementType.rawValue)")
        }
    }
}
