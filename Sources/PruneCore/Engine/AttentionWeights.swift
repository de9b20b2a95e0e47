// SPDX-License-Identifier: Apache-2.0
/// The weights of one attention sublayer, its norms aside.
final class AttentionWeights: Sendable {
    let plan: AttentionPlan
    /// Query, key and value, or one projection that gives them head by head.
    let inputs: [Projection]
    let output: Projection
    let queryNorm, keyNorm: Norm?
    let sinks: StoredVector?
    /// nil = heads are not turned.
    let rotary: RotaryTable?

    init(
        _ plan: AttentionPlan, inputs: [Projection], output: Projection, queryNorm: Norm?, keyNorm: Norm?,
        sinks: StoredVector?, rotary: RotaryTable?
    ) {
        self.plan = plan
        self.inputs = inputs
        self.output = output
        self.queryNorm = queryNorm
        self.keyNorm = keyNorm
        self.sinks = sinks
        self.rotary = rotary
    }
}
