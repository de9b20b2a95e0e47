// SPDX-License-Identifier: Apache-2.0
extension HostModel {
    public var hasGradients: Bool { offers([.vjp, .read, .write]) }

    public var noGradients: PruneError {
        let needed: [(HostOffers, String)] = [(.vjp, "vjp"), (.read, "read"), (.write, "write")]
        return missing(
            needed.filter { !offers($0.0) }.map(\.1).joined(separator: " and "),
            "gradients are made of; closed forms, evaluation and the other metrics work without")
    }

    public func pullback(
        _ sublayer: Int, at states: [any HiddenState], of gradients: [any HiddenState]
    ) throws(PruneError) -> [any HiddenState] {
        if shape.hasWholeBlocks, sublayer % 2 == 1 { return gradients }
        guard offers(.vjp) else { throw noGradients }
        let (before, slopes) = (try states.map(own), try gradients.map(own))
        return try withExtendedLifetime((before, slopes)) { () throws(PruneError) in
            zip(before, try host.vjp(sublayer, at: before.map(\.handle), of: slopes.map(\.handle))).map {
                HostState($0.batch, $1, self)
            }
        }
    }

    public func headPullback(
        _ state: any HiddenState, _ objective: HeadObjective, at rows: [Int], weights: [Float]
    ) throws(PruneError) -> (losses: [Float], gradient: any HiddenState) {
        let state = try own(state)
        guard offers(.headVJP) else {
            throw missing("head_vjp", "gives gradients of losses; the objective `mse` works without")
        }
        let reference: HostState?
        let asked: HostObjective
        switch objective {
        case .crossEntropy: (reference, asked) = (nil, .crossEntropy(state.batch.followers(of: rows)))
        case .kl(let other):
            let own = try own(other)
            (reference, asked) = (own, .kl(own.handle))
        case .js(let other):
            let own = try own(other)
            (reference, asked) = (own, .js(own.handle))
        }
        return try withExtendedLifetime((state, reference)) { () throws(PruneError) in
            let (losses, gradient) = try host.headVJP(state.handle, asked, at: rows, weights: weights)
            return (losses, HostState(state.batch, gradient, self))
        }
    }

    public func weightGradients(ofSublayer sublayer: Int) throws(PruneError) -> WeightGradients {
        throw PruneError(
            .unsupported, "taylor needs the gradients of weights, which only models that PruneCore runs itself give")
    }
}
