// SPDX-License-Identifier: Apache-2.0
extension Adapter {
    /// Where a part lies among the parameters; nil if the kind has none, and for the norm, which is not a parameter.
    func range(of part: AdapterPart) -> Range<Int>? {
        switch (part, kind) {
        case (.bias, _): biasRange
        case (.down, .lowRank): downRange
        case (.up, .lowRank): upRange
        case (.matrix, .linear): matrixRange
        default: nil
        }
    }

    /// Rows and columns of a part, or the length of a vector.
    static func shape(of part: AdapterPart, width: Int, rank: Int) -> [Int] {
        switch part {
        case .bias, .norm, .normBias: [width]
        case .down: [rank, width]
        case .up: [width, rank]
        case .matrix: [width, width]
        }
    }

    /// The values of a part, row-major; nil if there is none.
    func values(of part: AdapterPart) -> [Float]? {
        switch part {
        case .norm: norm?.gain
        case .normBias: norm?.bias
        default: range(of: part).map { Array(parameters[$0]) }
        }
    }
}

extension AdapterSet {
    /// The values of a part, row-major. Errors: `.argument` if there is no adapter, or it has no such part.
    public func values(of part: AdapterPart, atSublayer sublayer: Int) throws(PruneError) -> [Float] {
        guard let values = try adapter(at: sublayer).values(of: part) else { throw missing(part, sublayer) }
        return values
    }

    /// Replaces the values of a part.
    ///
    /// Errors: `.argument` if there is no adapter, it has no such part, or the count is another; for the norm, which
    /// belongs to the model; `.nonFinite` naming the value.
    public mutating func replace(
        _ part: AdapterPart, atSublayer sublayer: Int, with values: [Float]
    ) throws(PruneError) {
        let adapter = try adapter(at: sublayer)
        guard part != .norm, part != .normBias else {
            throw PruneError(.argument, "the norm of an adapter is that of the model and cannot be set")
        }
        guard let range = adapter.range(of: part) else { throw missing(part, sublayer) }
        guard values.count == range.count else {
            throw PruneError(
                .argument,
                "the \(part.name) of the adapter at \(sublayerName(sublayer)) has \(range.count) values; \(values.count) were given"
            )
        }
        if let bad = values.firstIndex(where: { !$0.isFinite }) {
            throw PruneError(
                .nonFinite,
                "value \(bad) for the \(part.name) of the adapter at \(sublayerName(sublayer)) is \(values[bad]); values must be finite"
            )
        }
        adapters[sublayer]?.parameters.replaceSubrange(range, with: values)
    }

    /// Numbers of the adapter at a sublayer. Errors: `.argument` if none stands there.
    public func parameterCount(atSublayer sublayer: Int) throws(PruneError) -> Int {
        try adapter(at: sublayer).parameters.count
    }

    /// Errors: `.argument` if none stands there.
    func adapter(at sublayer: Int) throws(PruneError) -> Adapter {
        guard let adapter = adapters[sublayer] else {
            guard mask.keeps.indices.contains(sublayer) else {
                throw PruneError(
                    .argument, "sublayer is \(sublayer); the adapters are for 0 to \(mask.keeps.count - 1)")
            }
            let places = sublayers.map(sublayerName).joined(separator: ", ")
            throw PruneError(
                .argument,
                "no adapter stands at \(sublayerName(sublayer)); there \(places.isEmpty ? "is none" : "are \(places)")")
        }
        return adapter
    }

    private func missing(_ part: AdapterPart, _ sublayer: Int) -> PruneError {
        PruneError(
            .argument,
            "the \(adapters[sublayer]?.kind.name ?? "") adapter at \(sublayerName(sublayer)) has no \(part.name)")
    }
}
