// SPDX-License-Identifier: Apache-2.0
/// What a model lacks: sublayers that are no part of it any more, and adapters that stand in their places.
///
/// A sublayer that is absent owns no tensors and leaves the residual stream as it is, as one that a mask removes: a norm of
/// the sum stays. No file of its notation is needed to make it, so that every format can say it.
struct AbsentSublayers: Sendable {
    /// Of the 2 * blockCount sublayers.
    var places: Set<Int> = []
    /// By sublayer; each stands at one that is absent.
    var adapters: [Int: AdapterPlan] = [:]

    static let none = AbsentSublayers()
}
