// SPDX-License-Identifier: Apache-2.0
/// What a model lacks: sublayers that are no part of it any more, adapters that stand in their places, and weights that it
/// stores as deltas of others.
///
/// A sublayer that is absent owns no tensors and leaves the residual stream as it is, as one that a mask removes: a norm of
/// the sum stays. No file of its notation is needed to make it, so that every format can say it.
struct AbsentSublayers: Sendable {
    /// Of the 2 * blockCount sublayers.
    var places: Set<Int> = []
    /// By sublayer; each stands at one that is absent.
    var adapters: [Int: AdapterPlan] = [:]

    /// Weights of sublayers that are there, but stored as deltas of others'.
    var shared: [SharedForm] = []

    static let none = AbsentSublayers()
}
