// SPDX-License-Identifier: Apache-2.0
/// What the removal of each unit does to the model, one unit at a time.
public struct LeaveOneOut: Sendable {
    /// Loss without the unit - loss with it, nats; weighted mean over predicted tokens.
    public let loss: [Double]
    /// Mean of ||logits with - logits without||_2 over the same tokens, with the same weights; nil if not asked for.
    public let logitL2: [Double]?
}

/// Removes each unit that is not wholly removed already from `mask`, and measures loss and, if asked, logits.
///
/// A wholly removed unit scores 0. Errors: `.data` if there is nothing to predict; `.nonFinite`; `.cancelled`.
public func leaveOneOut(
    _ model: any Model, _ data: TokenData, _ granularity: Granularity, from mask: KeepMask, logitL2: Bool = true,
    _ options: WalkOptions = WalkOptions(), progress: ProgressMeter.Listener? = nil
) throws(PruneError) -> LeaveOneOut {
    try model.shape.check(mask)
    let units = 0..<granularity.unitCount(blocks: mask.blockCount)
    let measured = try Measurement(
        model, data, under: units.map { mask.removing(unit: $0, granularity) } + [mask],
        logitL2 ? [.loss, .distance(.l2)] : [.loss], reference: mask, options, stage: "leave one out",
        progress: progress)
    let base = measured.means[units.count][0].mean
    let removed = units.map { !mask.keepsAny(ofUnit: $0, granularity) }
    return LeaveOneOut(
        loss: units.map { removed[$0] ? 0 : measured.means[$0][0].mean - base },
        logitL2: logitL2 ? units.map { removed[$0] ? 0 : measured.means[$0][1].mean } : nil)
}
