// SPDX-License-Identifier: Apache-2.0
/// Where an adapter stands, and what it emulates.
struct AdapterSlot: Sendable, Equatable {
    /// The removed sublayer in whose place it stands.
    let sublayer: Int
    /// The sublayers whose update, together, it emulates: from the state before the first to the state after the last.
    let span: Range<Int>
    /// What its input goes through; nil = none.
    let norm: InputNorm?
}

/// The adapters that a mask gets, by ascending sublayer: one for each sublayer that it removes; for a block that it removes
/// whole as the options' `blockSlot` says. Where the model has no sublayer there is nothing to emulate.
///
/// Errors: `.argument` if the mask removes nothing or is of another model; `.unsupported` if the input is to be normed and
/// the model does not give its norms.
func adapterSlots(
    _ model: any Model, under mask: KeepMask, _ options: AdapterOptions
) throws(PruneError) -> [AdapterSlot] {
    try model.shape.check(mask)
    let removed = mask.removed.filter { model.shape.present.keeps($0) }
    guard !removed.isEmpty else {
        throw PruneError(.argument, "the mask removes nothing, so there is nothing to emulate; remove a sublayer first")
    }
    var slots: [AdapterSlot] = []
    for sublayer in removed {
        let block = 2 * (sublayer / 2)..<2 * (sublayer / 2) + 2
        let isWhole = block.allSatisfy(removed.contains)
        let span: Range<Int>
        switch options.blockSlot {
        case _ where !isWhole, .both: span = sublayer..<sublayer + 1
        case .attention:
            guard sublayer == block.lowerBound else { continue }
            span = block
        case .feedForward:
            guard sublayer != block.lowerBound else { continue }
            span = block
        }
        if let sublayer = span.first(where: { model.removed($0) != nil }) {
            throw PruneError(
                .unsupported,
                "the norm of \(sublayerName(sublayer)) follows its sum and stays where the sublayer is removed; "
                    + "adapters in such places are not supported")
        }
        var norm: InputNorm?
        if options.normsInput, options.kind != .bias {
            norm = try model.norm(ofSublayer: sublayer)
            guard norm.map({ $0.gain.count == model.shape.hiddenSize }) ?? model.givesNorms else {
                throw PruneError(
                    .unsupported,
                    "this model does not give the norm of \(sublayerName(sublayer)); make adapters with input `raw`")
            }
        }
        slots.append(AdapterSlot(sublayer: sublayer, span: span, norm: norm))
    }
    return slots
}
