// SPDX-License-Identifier: Apache-2.0
/// The losses of some masks from a model that evaluates them whole.
struct WholeLosses {
    /// Masks that the model is asked for at a time, between looks at the caller's progress callback.
    private static let masksPerCall = 16

    /// One per mask.
    let means: [TokenMean]
    let report: WalkReport

    /// nil if the model runs sublayer by sublayer. Errors: `.nonFinite`; `.cancelled`; those of the model.
    init?(
        _ model: any Model, _ data: TokenData, _ batches: [TokenBatch], under masks: [KeepMask], stage: String,
        progress: ProgressMeter.Listener?
    ) throws(PruneError) {
        guard try model.losses(of: data, under: []) != nil else { return nil }
        try Memory.require(
            masks.count.times(clamping: 640).plus(clamping: 32 * Self.masksPerCall * model.shape.sublayerCount),
            for: "\(masks.count) masks", "evaluate fewer at a time")
        for mask in masks { try model.shape.check(mask) }
        let distinct = Array(Set(masks)).sorted { $0.bytes.lexicographicallyPrecedes($1.bytes) }
        let meter = ProgressMeter(stage: stage, total: distinct.count, listener: progress)
        var meanOfMask: [KeepMask: TokenMean] = [:]
        for first in stride(from: 0, to: distinct.count, by: Self.masksPerCall) {
            let asked = Array(distinct[first..<min(first + Self.masksPerCall, distinct.count)])
            guard let losses = try model.losses(of: data, under: asked) else { return nil }
            guard losses.count == asked.count else {
                throw PruneError(.internal, "the model evaluated \(losses.count) masks of \(asked.count)")
            }
            for (mask, loss) in zip(asked, losses) {
                guard loss.isFinite else {
                    let removed = mask.removed.map(sublayerName).joined(separator: ", ")
                    throw PruneError(
                        .nonFinite,
                        "the host's evaluate gave a loss of \(loss) with \(removed.isEmpty ? "nothing" : removed) removed"
                    )
                }
                meanOfMask[mask] = TokenMean(mean: loss, of: batches)
            }
            try meter.advance(by: asked.count)
        }
        means = masks.map { meanOfMask[$0] ?? TokenMean() }
        var report = WalkReport()
        report.tokens = data.tokens.count
        report.sublayersNaive = masks.reduce(0) { $0 + $1.keptCount }
        report.sublayersComputed = distinct.reduce(0) { $0 + $1.keptCount }
        report.seconds = meter.seconds
        self.report = report
    }
}
