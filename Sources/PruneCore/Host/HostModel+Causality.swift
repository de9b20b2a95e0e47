// SPDX-License-Identifier: Apache-2.0
internal import Synchronization

/// Whether a host's tokens see those before them in their own sequence, and nothing else, as everything that is measured
/// takes for granted. Found out on a few tokens, whatever the model is called.
extension HostModel {
    /// Tests the host before it first computes for a caller: whether the first tokens of a sequence give the same whatever
    /// follows them, and sequences the same alone and beside each other. A host that has passed is not asked again.
    ///
    /// Numbers that are not finite prove nothing: whoever asks for them learns of it as ever.
    /// - Parameter data: what the caller asks about.
    /// Errors: `.unsupported` if tokens see more; those of the host's calls.
    func checkCausality(_ data: TokenData) throws(PruneError) {
        guard !isCausal.load(ordering: .acquiring) else { return }
        // A mean loss needs a token that is predicted inside of the prefix.
        guard let probe = CausalityProbe(shape, tokensOf: data, shortest: runsSublayers ? 1 : 2) else { return }
        let passed = runsSublayers ? try statesAreCausal(probe) : try lossesAreCausal(probe)
        if passed { isCausal.store(true, ordering: .releasing) }
    }

    /// - Returns: false if it cannot be told.
    private func statesAreCausal(_ probe: CausalityProbe) throws(PruneError) -> Bool {
        guard let alone = try values([probe.whole]) else { return false }
        let each = alone.count / probe.whole.count
        var last: [Double] = []
        for (prefix, tokens) in probe.others {
            guard let found = try values([tokens]) else { return false }
            try compare(found.prefix(prefix * each), alone.prefix(prefix * each), ofPrefix: prefix)
            last = found
        }
        guard let beside = try values([probe.whole, probe.neighbour]) else { return false }
        try compare(beside[...], (alone + last.prefix(probe.neighbour.count * each))[...], ofPrefix: nil)
        return true
    }

    /// The same from mean losses of whole data sets: the tokens of the prefix are the only ones that count.
    private func lossesAreCausal(_ probe: CausalityProbe) throws(PruneError) -> Bool {
        for (prefix, tokens) in probe.others {
            let expected = try means([probe.whole], counting: 0..<prefix)
            try compare(try means([tokens], counting: 0..<prefix)[...], expected[...], ofPrefix: prefix)
        }
        let (before, count) = (probe.neighbour.count, probe.whole.count)
        let expected = try means([probe.whole], counting: 0..<count)
        let beside = try means([probe.neighbour, probe.whole], counting: before..<before + count)
        try compare(beside[...], expected[...], ofPrefix: nil)
        return expected.allSatisfy(\.isFinite)
    }

    /// What the whole model makes of every token of some sequences, one or several numbers for each: a loss, its hidden
    /// state, or norms of that, whichever the host offers first; nil if it offers none, or one is not finite.
    private func values(_ sequences: [[Int32]]) throws(PruneError) -> [Double]? {
        let data = try TokenData(tokens: sequences.flatMap { $0 }, lengths: sequences.map(\.count), weights: nil)
        let batch = TokenBatch(data, 0..<data.sequenceCount)
        let start: any HiddenState = HostState(batch, try host.embed(batch), self)
        var state = start
        for sublayer in 0..<2 * shape.blockCount {
            guard let next = try apply(sublayer, to: [state]).first else { return nil }
            state = next
        }
        let rows = Array(0..<batch.rowCount)
        var found: [Double] = []
        if offers(.tokenLosses) || offers(.logits) {
            found = try losses(state, at: rows, of: data.tokens).map(Double.init)
        } else if offers(.read) {
            try read(state) { values in for index in values.indices { found.append(Double(values[index])) } }
        } else if offers(.compare) {
            found = (try compare(start, state, at: rows) ?? []).flatMap {
                [$0.afterL1, $0.afterSquares, $0.updateL1, $0.updateSquares]
            }
        }
        return !found.isEmpty && found.allSatisfy(\.isFinite) ? found : nil
    }

    /// Mean losses over some of the tokens, of the whole model and of one without any sublayer.
    private func means(_ sequences: [[Int32]], counting counted: Range<Int>) throws(PruneError) -> [Double] {
        let tokens = sequences.flatMap { $0 }
        let weights = tokens.indices.map { Float(counted.contains($0) ? 1 : 0) }
        let data = try TokenData(tokens: tokens, lengths: sequences.map(\.count), weights: weights)
        let nothing = try KeepMask(bytes: [UInt8](repeating: 0, count: 2 * shape.blockCount))
        return try host.evaluate(data, under: [KeepMask(blocks: shape.blockCount), nothing])
    }

    /// - Parameter prefix: the tokens that two sequences share; nil if one was computed alone and beside another.
    /// Errors: `.unsupported` if the numbers differ by more than sums in another order do.
    private func compare(
        _ found: ArraySlice<Double>, _ expected: ArraySlice<Double>, ofPrefix prefix: Int?
    ) throws(PruneError) {
        let largest = expected.reduce(0) { max($0, $1.magnitude) }
        let difference = zip(found, expected).reduce(0) { max($0, ($1.0 - $1.1).magnitude) }
        // Sequences of one length are computed alike; beside another one, products are of other sizes.
        let tolerance = (prefix == nil ? 10 : 1) * shape.elementType.causalTolerance * largest
        guard difference > tolerance else { return }
        let by = "by \(Float(difference)) of \(Float(largest))"
        let what =
            if let prefix {
                "what it computes for the first \(prefix == 1 ? "token" : "\(prefix) tokens") of a sequence changes \(by) with the tokens behind: it sees the future"
            } else {
                "what it computes for a sequence changes \(by) with the others in its batch"
            }
        throw PruneError(
            .unsupported,
            "the host is no causal language model: \(what); a host that knows better sets known_causal")
    }
}

extension ElementType {
    /// Relative to the largest value: as far as a model in this type may be from itself.
    fileprivate var causalTolerance: Double {
        switch self {
        case .float32: 2e-5
        case .float16: 2e-3
        case .bfloat16: 1e-2
        // As far as rounding to 4 bits takes one.
        default: 5e-2
        }
    }
}
