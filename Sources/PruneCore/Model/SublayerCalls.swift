// SPDX-License-Identifier: Apache-2.0
/// How many rows are computed together.
enum RowLimit {
    /// Rows of one call of `Model.apply`: with so many, reading the weights costs little of it. More make no row
    /// cheaper, but what a call leaves behind has then left the caches (measured with hidden states of 128: 4096 take a
    /// tenth longer).
    static let call = 2048
}

extension Model {
    /// Batches that go through the sublayers together, when each row has some states at a time: one by one; or as many
    /// as a quarter of the free memory holds, where weights are read anew in every pass.
    func waves(of batches: [TokenBatch], statesPerRow: Int) -> [Range<Int>] {
        guard rereadsWeights else { return batches.indices.map { $0..<$0 + 1 } }
        let bytesPerRow = shape.hiddenSize * MemoryLayout<Float>.stride * statesPerRow
        let most = Memory.free / 4 / max(bytesPerRow, 1)
        return consecutiveGroups(ofRows: batches.map(\.rowCount), atMost: most)
    }

    /// Moves some of `states` through a sublayer, in calls of at most `rows` rows each; they are replaced in place, so
    /// that those of a call are released before the next.
    ///
    /// - Parameter moved: told after every call how many states it moved.
    func apply(
        _ sublayer: Int, to states: inout [any HiddenState], at places: [Int], rowsPerCall rows: Int,
        moved: (Int) throws(PruneError) -> Void
    ) throws(PruneError) {
        for group in consecutiveGroups(ofRows: places.map { states[$0].batch.rowCount }, atMost: rows) {
            let after = try apply(sublayer, to: places[group].map { states[$0] })
            guard after.count == group.count else {
                throw PruneError(
                    .internal,
                    "the model returned \(after.count) hidden states for \(group.count) at \(sublayerName(sublayer))")
            }
            for (place, state) in zip(places[group], after) { states[place] = state }
            try moved(group.count)
        }
    }
}
