// SPDX-License-Identifier: Apache-2.0
extension NativeModel {
    /// The model with fewer neurons in some feed-forwards: rows of gate and up, and columns of down, are gone.
    ///
    /// Numbers stay as they are stored. Columns of a quantised down do if whole blocks of them go; else that matrix becomes
    /// bf16.
    ///
    /// Errors: `.argument` for a block or neuron out of range, no neurons, neurons out of order, or a feed-forward that is no
    /// part of the model; `.unsupported` for a mixture; `.file` if a file of the weights changed; `.memory`.
    func narrowed(_ narrowing: FeedForwardNarrowing) throws(PruneError) -> NativeModel {
        var plans = config.sublayers
        var family = source?.family?.sublayers
        var own: [StoredTensor] = []
        for (block, neurons) in narrowing.kept.sorted(by: { $0.key < $1.key }) {
            let sublayer = 2 * block + 1
            try checkNarrowing(block, neurons)
            guard case .feedForward(let plan) = plans[sublayer].update, neurons.count < plan.down.inputs else {
                continue
            }
            let narrowed = try NarrowedFeedForward(plan, keeping: neurons)
            plans[sublayer] = plans[sublayer].computing(.feedForward(narrowed.plan))
            if let own = family?[sublayer], case .feedForward(let other) = own.update {
                let other = try NarrowedFeedForward(other, keeping: neurons).plan
                family?[sublayer] = own.computing(.feedForward(other))
            }
            let whole = weights.tensors(ofSublayer: sublayer)
            for cut in narrowed.cuts {
                guard let tensor = whole.first(where: { $0.name == cut.tensor }) else {
                    throw PruneError(.internal, "tensor \(cut.tensor.quoted) is none of block \(block)'s feed-forward")
                }
                own.append(
                    try readingSublayer(sublayer) { () throws(PruneError) in
                        try tensor.keeping(cut.kept, dimension: cut.dimension, scratch)
                    })
            }
        }
        return try replacing(own, sublayers: plans, family: family, edit: .narrow(narrowing))
    }

    private func checkNarrowing(_ block: Int, _ neurons: [Int]) throws(PruneError) {
        guard (0..<config.blockCount).contains(block) else {
            throw PruneError(
                .argument, "narrow: block \(block) is none of the model's, which are 0 to \(config.blockCount - 1)")
        }
        let count = try neuronCount(ofSublayer: 2 * block + 1)
        guard count > 0 else {
            throw PruneError(.argument, "narrow: \(sublayerName(2 * block + 1)) is no part of the model")
        }
        guard let first = neurons.first, let last = neurons.last else {
            throw PruneError(
                .argument,
                "narrow: no neurons of block \(block) are kept; remove \(sublayerName(2 * block + 1)) by the mask instead"
            )
        }
        guard zip(neurons, neurons.dropFirst()).allSatisfy({ $0 < $1 }) else {
            throw PruneError(.argument, "narrow: the neurons of block \(block) are not in ascending order, each once")
        }
        guard first >= 0, last < count else {
            throw PruneError(
                .argument,
                "narrow: neuron \(first < 0 ? first : last) of block \(block) is none of its feed-forward's, which are 0 to \(count - 1)"
            )
        }
    }
}

extension StoredTensor {
    /// The tensor with some of its rows or columns, or entries of a vector, in memory of its own.
    ///
    /// - Parameters:
    ///   - kept: ascending and in range.
    ///   - dimension: of the shape, which has one or two.
    /// Errors: `.memory`.
    fileprivate func keeping(_ kept: [Int], dimension: Int, _ scratch: BufferPool) throws(PruneError) -> StoredTensor {
        var newShape = shape
        newShape[dimension] = kept.count
        let isVector = shape.count == 1
        // A vector is cut like the only row of a matrix.
        let rows = isVector ? 1 : newShape[0]
        let columns = newShape[newShape.count - 1]
        let blocks = isVector || dimension == 1 ? wholeBlocks(kept) : nil
        let type = !isVector && dimension == 0 || blocks != nil ? elementType : .bfloat16
        let memory = try TensorMemory(
            byteCount: type.bytes(of: rows * columns), for: "tensor \(name.quoted) with fewer neurons")
        guard let source = bytes.baseAddress, let target = memory.bytes.baseAddress else {
            return memory.tensor(name, type, shape: newShape)
        }
        // Safe: all offsets lie in the two tensors, whose shapes were checked; each row is written by one thread.
        nonisolated(unsafe) let (from, to) = (source, target)
        let rowBytes = type.bytes(of: columns)
        if !isVector && dimension == 0 {
            for (row, index) in kept.enumerated() {
                (to + row * rowBytes).copyMemory(
                    from: from + elementType.bytes(of: index * rowStride), byteCount: rowBytes)
            }
        } else if let blocks {
            let size = elementType.blockBytes
            ThreadPool.forEach(rows) { row, _ in
                let line = from + (isVector ? 0 : elementType.bytes(of: row * rowStride))
                for (place, block) in blocks.enumerated() {
                    (to + row * rowBytes + place * size).copyMemory(from: line + block * size, byteCount: size)
                }
            }
        } else {
            let whole = shape[shape.count - 1]
            let room = try scratch.buffer(whole + kept.count)
            for row in 0..<rows {
                Kernels.widen(from + elementType.bytes(of: row * rowStride), elementType, into: room.pointer, whole)
                for (place, index) in kept.enumerated() { room.pointer[whole + place] = room.pointer[index] }
                let out = (to + row * rowBytes).assumingMemoryBound(to: UInt16.self)
                Kernels.round(room.pointer + whole, into: out, kept.count)
            }
        }
        return memory.tensor(name, type, shape: newShape)
    }

    /// The blocks that some elements of a row are, if they are whole ones; of a type without, each element is one.
    private func wholeBlocks(_ kept: [Int]) -> [Int]? {
        let size = elementType.blockElements
        guard size > 1 else { return kept }
        guard kept.count % size == 0 else { return nil }
        var blocks: [Int] = []
        for start in stride(from: 0, to: kept.count, by: size) {
            guard kept[start] % size == 0, kept[start + size - 1] == kept[start] + size - 1 else { return nil }
            blocks.append(kept[start] / size)
        }
        return blocks
    }
}
