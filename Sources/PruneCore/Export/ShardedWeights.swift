// SPDX-License-Identifier: Apache-2.0
/// Tensors as files of weights: `model.safetensors`, or shards and the index that says which has what.
struct ShardedWeights {
    /// Bytes handed on at a time: a tensor is never in memory as a whole.
    private static let pieceSize = 8 << 20
    /// Bytes that a header takes for a tensor at most, beside its name, and for itself.
    private static let headerEntry = 256

    struct Shard {
        let name: String
        let tensors: [ExportPlan.Tensor]
    }

    let shards: [Shard]
    /// Bytes of all files at most.
    let byteCount: Int

    /// Fills files in the order of the tensors, each until the next tensor would not fit.
    ///
    /// - Parameter limit: bytes of a file at most.
    init(_ tensors: [ExportPlan.Tensor], limit: Int) {
        var groups: [[ExportPlan.Tensor]] = [[]]
        var size = Self.headerEntry
        var total = 0
        for tensor in tensors {
            let own = tensor.byteCount + tensor.name.utf8.count + Self.headerEntry
            if let last = groups.last, !last.isEmpty, size + own > limit {
                groups.append([])
                size = Self.headerEntry
            }
            groups[groups.count - 1].append(tensor)
            size += own
            total += own
        }
        byteCount = total + groups.count * Self.headerEntry
        let width = 5
        func padded(_ number: Int) -> String {
            String(repeating: "0", count: max(0, width - String(number).count)) + String(number)
        }
        shards = groups.enumerated().map { index, tensors in
            let name =
                groups.count == 1
                ? "model.safetensors" : "model-\(padded(index + 1))-of-\(padded(groups.count)).safetensors"
            // Of falling element size, so that every tensor is aligned when the file is mapped.
            return Shard(
                name: name,
                tensors: tensors.enumerated().sorted {
                    (-$0.element.elementType.blockBytes, $0.offset) < (-$1.element.elementType.blockBytes, $1.offset)
                }.map(\.element))
        }
    }

    /// Writes all files. Errors: `.file`; `.cancelled`.
    func write(to directory: StagedDirectory, _ scratch: BufferPool, _ meter: ProgressMeter) throws(PruneError) {
        for shard in shards {
            try directory.write(shard.name) { (append) throws(PruneError) in
                try SafetensorsWriter.write(
                    shard.tensors.map { tensor in
                        SafetensorsWriter.Tensor(
                            name: tensor.name, elementType: tensor.elementType, shape: tensor.shape
                        ) { (append) throws(PruneError) in
                            try Self.write(tensor, scratch, append)
                            try meter.advance()
                        }
                    },
                    metadata: ["format": "pt"], append: append)
            }
        }
        if shards.count > 1 { try directory.write("model.safetensors.index.json", Array(index.text.utf8)) }
    }

    private static func write(
        _ tensor: ExportPlan.Tensor, _ scratch: BufferPool, _ append: AtomicFile.Append
    ) throws(PruneError) {
        switch tensor.content {
        case .values(let values, _): try SafetensorsWriter.write(values, append)
        case .converted(let converted): try converted.write(tensor.name, scratch, append)
        case .zeros: try writeZeros(tensor.byteCount, append)
        case .matrix(let adapter): try SafetensorsWriter.write(try adapter.wholeMatrix(), append)
        case .padded(let stored, let rows, let columns): try write(stored, rows: rows, columns: columns, append)
        case .stored(let stored):
            for begin in stride(from: 0, to: stored.bytes.count, by: pieceSize) {
                let end = min(begin + pieceSize, stored.bytes.count)
                let piece = UnsafeRawBufferPointer(rebasing: stored.bytes[begin..<end])
                try reading(stored.mappedFile.map { [$0] } ?? []) { () throws(PruneError) in try append(piece) }
                stored.doesNotNeed(piece)
            }
        }
    }

    private static func writeZeros(_ count: Int, _ append: AtomicFile.Append) throws(PruneError) {
        var left = count
        let zeros = [UInt8](repeating: 0, count: min(count, pieceSize))
        while left > 0 {
            let piece = min(left, zeros.count)
            try SafetensorsWriter.write(piece == zeros.count ? zeros : Array(zeros.prefix(piece)), append)
            left -= piece
        }
    }

    /// A matrix, in the corner of a larger one of zeros.
    private static func write(
        _ stored: StoredTensor, rows: Int, columns: Int, _ append: AtomicFile.Append
    ) throws(PruneError) {
        let size = stored.elementType.blockBytes
        let (own, width) = (stored.shape[0], stored.shape[1])
        let rowsPerPiece = max(1, pieceSize / max(1, columns * size))
        for first in stride(from: 0, to: own, by: rowsPerPiece) {
            let end = min(own, first + rowsPerPiece)
            var piece: [UInt8] = []
            piece.reserveCapacity((end - first) * columns * size)
            try reading(stored.mappedFile.map { [$0] } ?? []) { () throws(PruneError) in
                for row in first..<end {
                    let begin = row * stored.rowStride * size
                    piece += UnsafeRawBufferPointer(rebasing: stored.bytes[begin..<begin + width * size])
                    piece += repeatElement(0, count: (columns - width) * size)
                }
            }
            try SafetensorsWriter.write(piece, append)
            stored.doesNotNeed(
                UnsafeRawBufferPointer(
                    rebasing: stored.bytes[
                        first * stored.rowStride * size..<((end - 1) * stored.rowStride + width) * size]))
        }
        try writeZeros((rows - own) * columns * size, append)
    }

    private var index: JSONValue {
        var files: [String: JSONValue] = [:]
        for shard in shards {
            for tensor in shard.tensors { files[tensor.name] = .string(shard.name) }
        }
        let total = shards.flatMap(\.tensors).reduce(0) { $0 + $1.byteCount }
        return .object(["metadata": .object(["total_size": .integer(total)]), "weight_map": .object(files)])
    }
}
