// SPDX-License-Identifier: Apache-2.0
extension NativeModel {
    /// The model with blocks merged into one of them; the others stay until a mask removes them. Errors: as `editedModel`.
    func merged(_ merge: BlockMerge) throws(PruneError) -> NativeModel {
        try replacing(try mergedTensors(merge), edit: .merge(merge))
    }

    /// What takes the places of the weights of block `into`: matrices and their biases, whole tensors, each once.
    func mergedTensors(_ merge: BlockMerge) throws(PruneError) -> [StoredTensor] {
        let blocks = [merge.into] + merge.from
        for block in blocks { try requireWhole(block) }
        var tensors: [StoredTensor] = []
        for part in 0...1 {
            for names in try mergedNames(blocks, part: part) {
                var sources: [StoredTensor] = []
                for (name, shape) in names { sources.append(try self.tensors.tensor(name, shape: shape)) }
                // Files of all blocks are checked, as those of one are in any reading.
                let files = blocks.flatMap { weights.files.sublayers[2 * $0 + part] }
                tensors.append(
                    try reading(files) { () throws(PruneError) in
                        try weightedSum(sources, merge.shares, scratch)
                    })
            }
        }
        return tensors
    }

    /// Whether `merged` would take these blocks.
    func canMerge(_ blocks: [Int]) -> Bool {
        blocks.allSatisfy { (try? requireWhole($0)) != nil }
            && (0...1).allSatisfy { (try? mergedNames(blocks, part: $0)) != nil }
    }

    private func requireWhole(_ block: Int) throws(PruneError) {
        guard block < shape.blockCount else {
            throw PruneError(
                .argument, "block \(block) cannot be merged: the model has \(shape.blockCount), numbered from 0")
        }
        for sublayer in [2 * block, 2 * block + 1] where config.absent.places.contains(sublayer) {
            throw PruneError(
                .argument, "block \(block) cannot be merged: \(sublayerName(sublayer)) is no part of the model")
        }
    }

    /// Names and shapes of the tensors that become one: for each tensor of the first block its own, then those of the others.
    ///
    /// Errors: `.unsupported` if the blocks do not have the same matrices at the same places.
    private func mergedNames(
        _ blocks: [Int], part: Int
    ) throws(PruneError) -> [[(name: String, shape: [Int])]] {
        let places = blocks.map { config.sublayers[2 * $0 + part].projectionPlaces }
        var names: [[(name: String, shape: [Int])]] = []
        var seen: Set<String> = []
        for (index, own) in places[0].enumerated() {
            for (block, other) in zip(blocks, places).dropFirst() {
                guard other.count == places[0].count, other[index].isLike(own) else {
                    let found = other.indices.contains(index) ? other[index].description : "nothing like it"
                    throw PruneError(
                        .unsupported,
                        "block \(block) cannot be merged into block \(blocks[0]): it has \(found) where the other has \(own.description)"
                    )
                }
            }
            // A tensor may hold several projections, or all experts'; it is merged as a whole.
            guard seen.insert(own.tensor).inserted else { continue }
            names.append(places.map { ($0[index].tensor, $0[index].shape) })
        }
        guard places.allSatisfy({ $0.count == places[0].count }) else {
            throw PruneError(
                .unsupported,
                "blocks \(blocks.map(String.init).joined(separator: ", ")) cannot be merged: they have different numbers of matrices"
            )
        }
        return names
    }
}

extension ProjectionPlan.Place {
    /// Whether another block has the same there.
    fileprivate func isLike(_ other: Self) -> Bool {
        shape == other.shape && expert == other.expert && first == other.first && isTransposed == other.isTransposed
    }

    fileprivate var description: String { "\(tensor.quoted) of shape \(shape)" }
}

/// A tensor that is the sum of others of its shape, each times its share, under the name of the first and in its type: bf16
/// if that is quantised. Added up in double, then rounded to fp32 and to the type.
///
/// - Parameter shares: one for each; a tensor with a share of 0 is not read.
/// Errors: `.nonFinite` if fp16 cannot hold a result; `.memory`.
private func weightedSum(
    _ sources: [StoredTensor], _ shares: [Double], _ scratch: BufferPool
) throws(PruneError) -> StoredTensor {
    let first = sources[0]
    let type = first.elementType.isQuantised ? ElementType.bfloat16 : first.elementType
    let columns = max(first.shape.last ?? 1, 1)
    let rows = first.elementCount / columns
    let memory = try TensorMemory(
        byteCount: type.bytes(of: first.elementCount), for: "the merged tensor \(first.name.quoted)")
    let terms = zip(sources, shares).filter { $0.1 != 0 }
    let rowsPerPiece = max(1, min(rows, elementsOfPiece / columns))
    let pieces = stride(from: 0, to: rows, by: rowsPerPiece).map { $0..<min($0 + rowsPerPiece, rows) }
    // Safe: every piece writes its own rows of the new tensor, and reads rows that the sources have.
    nonisolated(unsafe) let out = memory.bytes.baseAddress
    let fits = mapOnAllThreads(pieces) { piece -> Bool? in
        guard let out, let row = try? scratch.buffer(columns) else { return nil }
        var sum = [Double](repeating: 0, count: columns)
        return piece.allSatisfy { index in
            for (number, term) in terms.enumerated() {
                term.0.widen(row: index, columns: columns, into: row.pointer)
                // The first term is not added to 0, which would lose the sign of a zero.
                for column in 0..<columns {
                    let value = term.1 * Double(row.pointer[column])
                    sum[column] = number == 0 ? value : sum[column] + value
                }
            }
            for column in 0..<columns { row.pointer[column] = Float(sum[column]) }
            return writeElements(row.pointer, columns, as: type, at: out + type.bytes(of: index * columns))
        }
    }
    guard let fits else { throw PruneError(.memory, "there is no memory for rows of tensor \(first.name.quoted)") }
    guard fits.allSatisfy(\.self) else {
        throw PruneError(
            .nonFinite,
            "the merged tensor \(first.name.quoted) has numbers that fp16, in which it is stored, cannot hold; give a lower weight"
        )
    }
    return memory.tensor(first.name, type, shape: first.shape)
}

/// Elements that one thread adds up at a time.
private let elementsOfPiece = 1 << 16

/// Rounds values into memory of a type. False if one becomes infinite by it.
private func writeElements(
    _ values: UnsafePointer<Float>, _ count: Int, as type: ElementType, at place: UnsafeMutableRawPointer
) -> Bool {
    switch type {
    case .float16:
        let out = place.assumingMemoryBound(to: Float16.self)
        for index in 0..<count {
            out[index] = Float16(values[index])
            if !out[index].isFinite, values[index].isFinite { return false }
        }
    case .bfloat16: Kernels.round(values, into: place.assumingMemoryBound(to: UInt16.self), count)
    default: place.copyMemory(from: values, byteCount: 4 * count)
    }
    return true
}

extension StoredTensor {
    /// A row in fp32, where a tensor of any dimensions is rows of its last.
    fileprivate func widen(row: Int, columns: Int, into out: UnsafeMutablePointer<Float>) {
        guard let base = bytes.baseAddress else { return }
        Kernels.widen(base + elementType.bytes(of: row * rowStride), elementType, into: out, columns)
    }
}
