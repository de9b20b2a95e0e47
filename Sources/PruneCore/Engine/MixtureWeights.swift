// SPDX-License-Identifier: Apache-2.0
/// The weights of one mixture of experts.
final class MixtureWeights: Sendable {
    let plan: MixturePlan
    let router: Projection
    let experts: [FeedForwardWeights]
    let shared: FeedForwardWeights?
    let sharedGate: Projection?

    init(
        _ plan: MixturePlan, router: Projection, experts: [FeedForwardWeights], shared: FeedForwardWeights?,
        sharedGate: Projection?
    ) {
        self.plan = plan
        self.router = router
        self.experts = experts
        self.shared = shared
        self.sharedGate = sharedGate
    }

    var projections: [Projection] {
        [router] + experts.flatMap(\.projections) + (shared?.projections ?? []) + (sharedGate.map { [$0] } ?? [])
    }
}
