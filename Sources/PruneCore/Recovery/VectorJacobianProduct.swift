// SPDX-License-Identifier: Apache-2.0
/// Pulls gradients back through one sublayer: from those with respect to the states after it to those before it.
///
/// - Parameters:
///   - data: its sequences say which tokens belong together.
///   - states: hidden states before the sublayer, tokens x hiddenSize.
///   - gradients: in the same layout.
/// Errors: `.argument` for a sublayer that is not there or a wrong count; `.unsupported` if the model has no gradients;
/// `.cancelled`; `.memory`.
public func vectorJacobianProduct(
    _ model: any Model, _ data: TokenData, ofSublayer sublayer: Int, at states: [Float], of gradients: [Float],
    batchTokens: Int, progress: ProgressMeter.Listener? = nil
) throws(PruneError) -> [Float] {
    guard model.hasGradients else { throw model.noGradients }
    let (width, sublayers) = (model.shape.hiddenSize, model.shape.sublayerCount)
    guard (0..<sublayers).contains(sublayer) else {
        throw PruneError(.argument, "sublayer is \(sublayer); this model has 0 to \(sublayers - 1)")
    }
    let (count, overflow) = data.tokens.count.multipliedReportingOverflow(by: width)
    guard !overflow, states.count == count, gradients.count == count else {
        throw PruneError(
            .argument,
            "count is \(states.count), but the data has \(data.tokens.count) tokens of \(width) values, the hidden size"
        )
    }
    let batches = data.batches(of: batchTokens)
    let meter = ProgressMeter(stage: "vjp", total: batches.count, listener: progress)
    var before: [Float] = []
    try Memory.require(count.times(clamping: 4), for: "\(count) gradients", "give fewer tokens at a time")
    before.reserveCapacity(count)
    for batch in batches {
        let rows = batch.tokens.lowerBound * width..<batch.tokens.upperBound * width
        let start = try model.start(batch)
        let state = try model.write(like: start, states[rows])
        let gradient = try model.write(like: start, gradients[rows])
        guard let found = try model.pullback(sublayer, at: [state], of: [gradient]).first else {
            throw PruneError(.internal, "the model returned no gradient for \(sublayerName(sublayer))")
        }
        try model.read(found) { values throws(PruneError) in
            values.withUnsafeBufferPointer { before += $0 }
        }
        try meter.advance()
    }
    return before
}

extension Model {
    /// A hidden state with given values: rowCount * hiddenSize of them.
    fileprivate func write(like state: any HiddenState, _ values: ArraySlice<Float>) throws(PruneError)
        -> any HiddenState
    {
        try write(like: state) { out throws(PruneError) in
            for (index, value) in values.enumerated() { out[index] = value }
        }
    }
}
