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

/// How many rows suit a model at a time.
enum RowLimit {
    /// Rows of one call, where the weights stay in memory. More do not make a row cheaper: weights are read and widened
    /// once for thousands of rows; but what a call leaves behind has then left the caches.
    static let call = 4096

    /// Rows of one call at most.
    ///
    /// - Parameters:
    ///   - rereadsWeights: the weights are read anew for every call, so that fewer, larger calls win.
    ///   - memory: bytes that the temporaries of a call should not exceed by much, then.
    static func call(_ shape: ModelShape, rereadsWeights: Bool, memory: Int) -> Int {
        guard rereadsWeights else { return call }
        // What an engine holds of a row meanwhile: gate and up, or norm, queries, keys, values and their mixture.
        let floats = 2 * shape.feedForwardSize + 4 * shape.hiddenSize
        return max(call, memory / (MemoryLayout<Float>.stride * max(floats, 1)))
    }
}

extension Model {
    /// Moves some of `states` through a sublayer, in calls of at most `rows` rows each; they are replaced in place, so that
    /// those of a call are let go before the next.
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
