// SPDX-License-Identifier: Apache-2.0
/// A native model as a healing runs it: sublayers of its own, and adapters that stay as they are in the places of others.
struct HealedModel: Sendable {
    let native: NativeModel
    /// The sublayers of `native` that run.
    let mask: KeepMask
    /// None of them at a sublayer that runs.
    let adapters: [Int: Adapter]
    private let scratch = BufferPool()

    init(_ native: NativeModel, mask: KeepMask, adapters: [Int: Adapter]) {
        self.native = native
        self.mask = mask
        self.adapters = adapters
    }

    /// A model under a mask of its own sublayers. Errors: `.unsupported` if a host runs it.
    init(_ model: any Model, under mask: KeepMask, as role: String) throws(PruneError) {
        let mask = model.shape.present(in: mask)
        if let native = model as? NativeModel {
            self.init(native, mask: mask, adapters: [:])
        } else if let recovered = model as? RecoveredModel, let native = recovered.base as? NativeModel {
            let kept = recovered.adapters.kept(by: mask)
            self.init(native, mask: kept.mask, adapters: kept.adapters)
        } else {
            throw PruneError(
                .unsupported,
                "\(role) is run by a host, which holds its weights and trains them itself; open it with PruneCore")
        }
    }

    /// The same sublayers and adapters with other weights.
    func with(_ native: NativeModel) -> HealedModel { HealedModel(native, mask: mask, adapters: adapters) }

    /// Whether a state changes at a sublayer.
    func acts(_ sublayer: Int) -> Bool {
        mask.keeps(sublayer) || adapters[sublayer] != nil || native.removed(sublayer) != nil
    }

    func apply(_ sublayer: Int, to state: any HiddenState) throws(PruneError) -> any HiddenState {
        if let adapter = adapters[sublayer] {
            return try native.apply(adapter, inPlaceOf: sublayer, to: state, scratch)
        }
        return try native.run(state, from: sublayer, to: sublayer + 1, under: mask)
    }

    func run(
        _ state: any HiddenState, _ sublayers: Range<Int>, _ meter: ProgressMeter?
    ) throws(PruneError) -> any HiddenState {
        var state = state
        for sublayer in sublayers where acts(sublayer) {
            state = try apply(sublayer, to: state)
            try meter?.advance()
        }
        return state
    }

    /// The gradient with respect to the state before a sublayer; adds those of its weights to `sums`.
    func pullback(
        _ sublayer: Int, at state: any HiddenState, of gradient: any HiddenState, addingTo sums: TensorGradients
    ) throws(PruneError) -> any HiddenState {
        if mask.keeps(sublayer) {
            guard let before = try native.pullback(sublayer, at: [state], of: [gradient], sums: sums).first else {
                throw PruneError(.internal, "the model returned no gradient for \(sublayerName(sublayer))")
            }
            return before
        }
        if let adapter = adapters[sublayer] {
            var unused = [Float](repeating: 0, count: adapter.parameters.count)
            return try native.pullback(adapter, at: state, of: gradient, addingTo: &unused, scratch)
        }
        return try native.removed(sublayer)?.pullback(at: state, of: gradient) ?? gradient
    }

    /// Names the place where a batch's hidden state stops being finite.
    func nonFiniteError(in batch: TokenBatch) throws(PruneError) -> PruneError {
        guard !adapters.isEmpty else { return try native.nonFiniteError(in: batch, under: mask) }
        let set = AdapterSet(
            mask: mask, adapters: adapters, weightSample: [], hiddenSize: native.shape.hiddenSize)
        return try RecoveredModel(native, set).nonFiniteError(
            in: batch, under: KeepMask(blocks: native.shape.blockCount))
    }
}
