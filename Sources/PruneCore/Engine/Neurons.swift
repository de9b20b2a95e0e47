// SPDX-License-Identifier: Apache-2.0
/// What the neurons of feed-forwards give, and how far each reaches. A neuron is a value inside a feed-forward: a row of gate
/// and up, and the column of down that it meets.
extension NativeModel {
    public func neuronCount(ofSublayer sublayer: Int) throws(PruneError) -> Int {
        switch weights.sublayers[sublayer].update {
        case .feedForward(let layer): return layer.down.inputs
        case .attention, .absent: return 0
        case .mixture:
            throw PruneError(
                .unsupported,
                "the feed-forward of block \(sublayer / 2) is a mixture of experts, of whose neurons each token meets few; only dense feed-forwards are narrowed"
            )
        }
    }

    public func neuronReach(ofSublayer sublayer: Int) throws(PruneError) -> [Double] {
        guard try neuronCount(ofSublayer: sublayer) > 0,
            case .feedForward(let layer) = weights.sublayers[sublayer].update
        else { return [] }
        return try readingSublayer(sublayer) { () throws(PruneError) in
            try layer.down.columnNorms(scratch)
        }
    }

    public func apply(
        _ sublayer: Int, to states: [any HiddenState], neurons: @escaping NeuronReader
    ) throws(PruneError) -> [any HiddenState] {
        guard try neuronCount(ofSublayer: sublayer) > 0 else { return try apply(sublayer, to: states) }
        return try apply(sublayer, to: states, SublayerContext(neurons: neurons))
    }
}

extension Projection {
    /// The L2 norm of the weights that each input meets, in double. Rows are added in their order.
    fileprivate func columnNorms(_ scratch: BufferPool) throws(PruneError) -> [Double] {
        let row = try scratch.buffer(weight.columns)
        var sums = [Double](repeating: 0, count: inputs)
        for index in 0..<weight.rows {
            weight.widen(first: index, count: 1, into: row.pointer)
            if isTransposed {
                for column in 0..<weight.columns {
                    sums[index] += Double(row.pointer[column]) * Double(row.pointer[column])
                }
            } else {
                for column in 0..<weight.columns {
                    sums[column] += Double(row.pointer[column]) * Double(row.pointer[column])
                }
            }
        }
        return sums.map { $0.squareRoot() }
    }
}
