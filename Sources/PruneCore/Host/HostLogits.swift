// SPDX-License-Identifier: Apache-2.0
/// Losses and distances from logits, for hosts that offer no more.
extension HostModel {
    /// Values of logits that are held at a time, of each state.
    private static let heldValues = 1 << 22

    func lossesOfLogits(
        _ state: HostState, at rows: [Int], of tokens: [Int32]
    ) throws(PruneError) -> [Float] {
        guard offers(.logits) else { throw missing("token_losses, or logits,", "gives losses") }
        var losses = [Float](repeating: 0, count: rows.count)
        let entries = shape.vocabularySize
        try forEachPiece(of: rows, [state]) { places, logits in
            for place in places {
                let own = logits[0] + (rows[place] - rows[places.lowerBound]) * entries
                losses[place] = Float(SoftmaxRow(own, entries).loss(of: Int(tokens[place])))
            }
        }
        return losses
    }

    func distancesOfLogits(
        _ state: HostState, to reference: HostState, _ kind: LogitDistance, at rows: [Int]
    ) throws(PruneError) -> [Float] {
        guard offers(.logits) else { throw missing("distances, or logits,", "compares logits") }
        var distances = [Float](repeating: 0, count: rows.count)
        let entries = shape.vocabularySize
        try forEachPiece(of: rows, [state, reference]) { places, logits in
            for place in places {
                let offset = (rows[place] - rows[places.lowerBound]) * entries
                let (own, other) = (logits[0] + offset, logits[1] + offset)
                distances[place] =
                    switch kind {
                    case .l2:
                        Float(
                            (0..<entries).reduce(0.0) {
                                let difference = Double(own[$1]) - Double(other[$1])
                                return $0 + difference * difference
                            }.squareRoot())
                    case .kl: SoftmaxRow(own, entries).relativeEntropy(from: SoftmaxRow(other, entries), weight: 1)
                    case .js: SoftmaxRow(own, entries).divergence(from: SoftmaxRow(other, entries), weight: 1)
                    }
            }
        }
        return distances
    }

    /// Calls `body` with places in `rows` that stand for consecutive rows, none twice, and the logits of these rows of each
    /// state, which it may use up.
    private func forEachPiece(
        of rows: [Int], _ states: [HostState],
        _ body: (_ places: Range<Int>, _ logits: [UnsafeMutablePointer<Float>]) -> Void
    ) throws(PruneError) {
        let most = max(1, Self.heldValues / shape.vocabularySize)
        var first = 0
        while first < rows.count {
            var end = first + 1
            while end < rows.count, end - first < most, rows[end] == rows[end - 1] + 1 { end += 1 }
            let buffers = try states.map { _ throws(PruneError) in
                try scratch.buffer((end - first) * shape.vocabularySize)
            }
            for (state, buffer) in zip(states, buffers) {
                try host.logits(state.handle, at: rows[first]..<rows[first] + end - first, into: buffer.pointer)
            }
            // Safe: the buffers hold these rows' logits, and live until the body returns.
            withExtendedLifetime((states, buffers)) { body(first..<end, buffers.map(\.pointer)) }
            first = end
        }
    }
}
