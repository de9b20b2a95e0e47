// SPDX-License-Identifier: Apache-2.0
/// The objective on held-out data, looked at again and again while adapters move.
struct HeldOutObjective {
    /// Bytes of states kept between looks at most; beyond it they are computed each time.
    private static let memoryLimit = 256 << 20

    private let pass: GradientPass
    private let batches: [TokenBatch]
    /// What adapters do not change, for each batch; nil = computed each time.
    private let fixed: [GradientPass.Fixed]?

    /// - Parameter pass: its meter is told of what is computed here; looks have their own.
    /// Errors: `.data` if there is nothing to predict; those of the model.
    init(_ pass: GradientPass, _ data: TokenData, batchTokens: Int) throws(PruneError) {
        self.pass = pass
        batches = data.batches(of: batchTokens)
        try checkPredicts(batches)
        // Cannot overflow: states of all rows in memory are fewer than rows of the longest data times a hidden size.
        let bytesPerRow = pass.model.shape.hiddenSize * MemoryLayout<Float>.stride * 2
        guard data.tokens.count <= Self.memoryLimit / max(1, bytesPerRow) else {
            fixed = nil
            return
        }
        var own: [GradientPass.Fixed] = []
        for batch in batches { own.append(try pass.fixed(batch)) }
        fixed = own
    }

    /// Steps of a look at most, for a meter.
    var steps: Int { batches.count * pass.stepsPerBatch }

    /// - Parameter meter: told of every sublayer; nil = nobody listens.
    /// Errors: `.nonFinite`, naming the layer; `.cancelled`; those of the model.
    func loss(_ adapters: [Int: Adapter], _ meter: ProgressMeter? = nil) throws(PruneError) -> Double {
        var pass = pass
        pass.meter = meter
        var total = ObjectiveSum()
        for (index, batch) in batches.enumerated() {
            let own = if let fixed { fixed[index] } else { try pass.fixed(batch) }
            total += try pass.value(own, adapters)
        }
        return total.mean
    }
}
