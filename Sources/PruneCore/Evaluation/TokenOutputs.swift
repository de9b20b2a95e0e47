/// Calls `body` with every batch of the data and its hidden state before sublayer `end`, under a mask.
private func forEachBatch(
    _ model: any Model, _ data: TokenData, under mask: KeepMask, before end: Int, batchTokens: Int, stage: String,
    _ progress: ProgressMeter.Listener?,
    _ body: (TokenBatch, any HiddenState) throws(PruneError) -> Void
) throws(PruneError) {
    try model.shape.check(mask)
    let batches = data.batches(of: batchTokens)
    let applied = mask.kept.count { $0 < end }
    let meter = ProgressMeter(stage: stage, total: batches.count * (applied + 1), listener: progress)
    for batch in batches {
        let state = try model.run(try model.start(batch), to: end, under: mask) { (_, _, _) throws(PruneError) in
            try meter.advance()
        }
        try body(batch, state)
        try meter.advance()
    }
}

/// The loss of every token, in nats, not weighted; 0 for the first token of each sequence.
public func tokenLosses(
    _ model: any Model, _ data: TokenData, under mask: KeepMask, batchTokens: Int = TokenData.usualBatch,
    progress: ProgressMeter.Listener? = nil
) throws(PruneError) -> [Float] {
    var losses = [Float](repeating: 0, count: data.tokens.count)
    try forEachBatch(
        model, data, under: mask, before: model.shape.sublayerCount, batchTokens: batchTokens, stage: "token losses",
        progress
    ) { (batch, state) throws(PruneError) in
        let rows = batch.predictingRows(weighted: false)
        for (row, loss) in zip(rows, try finiteLosses(model, state, rows, mask)) {
            losses[batch.tokens.lowerBound + row + 1] = loss
        }
    }
    return losses
}

/// The logits of every token into `out`: tokens x vocabularySize.
public func logits(
    _ model: any Model, _ data: TokenData, under mask: KeepMask, batchTokens: Int = TokenData.usualBatch,
    progress: ProgressMeter.Listener? = nil, into out: UnsafeMutableBufferPointer<Float>
) throws(PruneError) {
    let entries = model.shape.vocabularySize
    try forEachBatch(
        model, data, under: mask, before: model.shape.sublayerCount, batchTokens: batchTokens, stage: "logits", progress
    ) { (batch, state) throws(PruneError) in
        let part = batch.tokens.lowerBound * entries..<batch.tokens.upperBound * entries
        var span = UnsafeMutableBufferPointer(rebasing: out[part]).mutableSpan
        try model.logits(state, at: 0..<batch.rowCount, into: &span)
    }
}

/// The hidden states of every token before sublayer `sublayer` into `out`: tokens x hiddenSize.
///
/// Errors: `.argument` if there is no such sublayer; the number of sublayers means after the last.
public func hiddenStates(
    _ model: any Model, _ data: TokenData, under mask: KeepMask, before sublayer: Int,
    batchTokens: Int = TokenData.usualBatch, progress: ProgressMeter.Listener? = nil,
    into out: UnsafeMutableBufferPointer<Float>
) throws(PruneError) {
    guard sublayer >= 0, sublayer <= model.shape.sublayerCount else {
        throw PruneError(.argument, "sublayer \(sublayer) is not in 0 ... \(model.shape.sublayerCount)")
    }
    let width = model.shape.hiddenSize
    try forEachBatch(
        model, data, under: mask, before: sublayer, batchTokens: batchTokens, stage: "hidden states", progress
    ) { (batch, state) throws(PruneError) in
        try model.read(state) { values throws(PruneError) in
            let first = batch.tokens.lowerBound * width
            for index in 0..<values.count { out[first + index] = values[index] }
        }
    }
}
