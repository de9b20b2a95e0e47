// SPDX-License-Identifier: Apache-2.0
/// The second moments of what the projections of some sublayers are given, over the tokens of the model's own stream.
struct SublayerMoments: Sendable {
    /// By sublayer: of what its first projections read, and of what its last one does.
    private(set) var moments: [Int: (first: InputMoments, last: InputMoments)] = [:]

    /// The moments that a weight's inputs have.
    func of(_ place: SharingPlace) -> InputMoments? {
        moments[place.sublayer].map { place.projection.isLast ? $0.last : $0.first }
    }

    /// Bytes of those of a sublayer.
    static func bytes(_ model: NativeModel, _ sublayer: Int) -> Int {
        let widths = model.config.sublayers[sublayer].namedProjections.map(\.plan.inputs)
        return InputMoments.bytes(width: widths.first ?? 0).plus(clamping: InputMoments.bytes(width: widths.last ?? 0))
    }

    /// Sublayers, cut into groups whose moments fit into `budget` bytes together; at least one in each.
    static func groups(_ sublayers: [Int], of model: NativeModel, budget: Int) -> [[Int]] {
        consecutiveGroups(ofRows: sublayers.map { bytes(model, $0) }, atMost: budget).map { Array(sublayers[$0]) }
    }

    /// One forward pass up to the last of `sublayers`, ascending.
    ///
    /// - Parameter mask: what the model runs.
    /// Errors: `.nonFinite` naming the layer; `.cancelled`; `.memory`; those of the model.
    init(
        _ model: NativeModel, _ batches: [TokenBatch], under mask: KeepMask, _ sublayers: [Int], _ meter: ProgressMeter
    ) throws(PruneError) {
        for sublayer in sublayers {
            let widths = model.config.sublayers[sublayer].namedProjections.map(\.plan.inputs)
            try Memory.require(
                Self.bytes(model, sublayer), for: "the moments of the inputs of \(sublayerName(sublayer))",
                "end other work first")
            moments[sublayer] = (InputMoments(width: widths.first ?? 0), InputMoments(width: widths.last ?? 0))
        }
        let scratch = BufferPool()
        for batch in batches {
            var state = try model.start(batch)
            for sublayer in 0...(sublayers.last ?? 0) {
                if moments[sublayer] != nil {
                    let (first, last) = try model.projectionInputs(ofSublayer: sublayer, at: state)
                    let isFinite = [
                        try moments[sublayer]?.first.add(first, rows: batch.rowCount, scratch),
                        try moments[sublayer]?.last.add(last, rows: batch.rowCount, scratch),
                    ]
                    guard !isFinite.contains(false) else { throw try model.nonFiniteError(in: batch, under: mask) }
                }
                if sublayer < sublayers.last ?? 0 {
                    state = try model.run(state, from: sublayer, to: sublayer + 1, under: mask)
                }
                try meter.advance()
            }
        }
    }
}
