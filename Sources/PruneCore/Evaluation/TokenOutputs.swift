// SPDX-License-Identifier: Apache-2.0
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
///
/// Errors: `.nonFinite` naming the layer; `.cancelled`; those of the model.
public func tokenLosses(
    _ model: any Model, _ data: TokenData, under mask: KeepMask, batchTokens: Int = TokenData.usualBatch,
    progress: ProgressMeter.Listener? = nil
) throws(PruneError) -> FloatBuffer {
    let losses = try FloatBuffer(count: data.tokens.count)
    losses.pointer.update(repeating: 0, count: losses.count)
    try forEachBatch(
        model, data, under: mask, before: model.shape.sublayerCount, batchTokens: batchTokens, stage: "token losses",
        progress
    ) { (batch, state) throws(PruneError) in
        let rows = batch.predictingRows(weighted: false)
        for (row, loss) in zip(rows, try finiteLosses(model, state, at: rows, under: mask)) {
            losses.pointer[batch.tokens.lowerBound + row + 1] = loss
        }
    }
    return losses
}

/// The logits of every token: tokens x vocabularySize. Errors: as `tokenLosses`.
public func logits(
    _ model: any Model, _ data: TokenData, under mask: KeepMask, batchTokens: Int = TokenData.usualBatch,
    progress: ProgressMeter.Listener? = nil
) throws(PruneError) -> FloatBuffer {
    let entries = model.shape.vocabularySize
    let values = try FloatBuffer(count: data.tokens.count * entries)
    try forEachBatch(
        model, data, under: mask, before: model.shape.sublayerCount, batchTokens: batchTokens, stage: "logits", progress
    ) { (batch, state) throws(PruneError) in
        let own = UnsafeMutableBufferPointer(
            start: values.pointer + batch.tokens.lowerBound * entries, count: batch.rowCount * entries)
        var span = own.mutableSpan
        try model.logits(state, at: 0..<batch.rowCount, into: &span)
        guard own.allSatisfy(\.isFinite) else { throw try model.nonFiniteError(in: batch, under: mask) }
    }
    return values
}

/// The hidden states of every token before sublayer `sublayer`: tokens x hiddenSize.
///
/// Errors: `.argument` if there is no such sublayer (the number of sublayers means after the last); as `tokenLosses`.
public func hiddenStates(
    _ model: any Model, _ data: TokenData, under mask: KeepMask, before sublayer: Int,
    batchTokens: Int = TokenData.usualBatch, progress: ProgressMeter.Listener? = nil
) throws(PruneError) -> FloatBuffer {
    guard sublayer >= 0, sublayer <= model.shape.sublayerCount else {
        throw PruneError(.argument, "sublayer \(sublayer) is not in 0 ... \(model.shape.sublayerCount)")
    }
    let width = model.shape.hiddenSize
    let values = try FloatBuffer(count: data.tokens.count * width)
    try forEachBatch(
        model, data, under: mask, before: sublayer, batchTokens: batchTokens, stage: "hidden states", progress
    ) { (batch, state) throws(PruneError) in
        let finite = try model.read(state) { own throws(PruneError) in
            let first = values.pointer + batch.tokens.lowerBound * width
            var finite = true
            for index in 0..<own.count {
                first[index] = own[index]
                finite = finite && own[index].isFinite
            }
            return finite
        }
        if !finite { throw try model.nonFiniteError(in: batch, under: mask) }
    }
    return values
}
