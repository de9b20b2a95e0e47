/// Cuts items that follow one another into groups of at most `most` rows; an item with more is a group of its own.
func consecutiveGroups(ofRows rows: [Int], atMost most: Int) -> [Range<Int>] {
    var groups: [Range<Int>] = []
    var first = 0
    var sum = 0
    for (index, own) in rows.enumerated() {
        if index > first, own > most - sum {
            groups.append(first..<index)
            first = index
            sum = 0
        }
        sum += own
    }
    if first < rows.count { groups.append(first..<rows.count) }
    return groups
}

/// How many rows are computed together.
enum RowLimit {
    /// Rows of one call of `Model.apply`: weights are read once for thousands of them, so that more make no row cheaper, but
    /// the memory of the call grows with them.
    static let call = 4096
}

extension Model {
    /// Rows of batches that go through the sublayers together at most, when each row has some states at a time: those of a
    /// call; or as many as a quarter of the free memory holds, where weights are read anew in every pass.
    func rowsTogether(statesPerRow: Int) -> Int {
        guard rereadsWeights else { return RowLimit.call }
        let bytesPerRow = shape.hiddenSize * MemoryLayout<Float>.stride * statesPerRow
        return max(RowLimit.call, Runtime.freeMemory / 4 / max(bytesPerRow, 1))
    }

    /// Moves some of `states` through a sublayer, in calls of at most `rows` rows each; they are replaced in place, so that
    /// those of a call are let go before the next.
    ///
    /// - Parameter moved: told after every call how many states it moved.
    func apply(
        _ sublayer: Int, to states: inout [any HiddenState], at places: [Int], rowsPerCall rows: Int = RowLimit.call,
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
