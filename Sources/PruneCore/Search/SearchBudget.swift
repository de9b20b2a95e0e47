// SPDX-License-Identifier: Apache-2.0
/// How much a search removes; the bounds of `prune_search_options`. 0 = no such bound; where there are several, all hold.
public struct SearchBudget: Sendable, Equatable {
    /// Units beyond those that the start lacks: exactly as many.
    public var remove = 0
    /// Attention and feed-forward sublayers, exactly as many of each. If both are 0 there is no such bound.
    public var removeAttention = 0
    public var removeFeedForward = 0
    /// Share of the parameters of the whole model, at least.
    public var removeParameters = 0.0
    /// What is left, at most.
    public var parameterBytes = 0
    public var keyValueBytes = 0
    /// Milliseconds per token of what is left, at most.
    public var prefillMilliseconds = 0.0
    public var decodeMilliseconds = 0.0
    /// 2 * n_blocks + 1 entries: the sublayers in order, and what no mask removes. Empty = not known.
    public var times: [TokenTime] = []
    /// Damage at most this share above that of the start.
    public var maxIncrease = 0.0
    /// Damage at most.
    public var maxDamage = 0.0

    public init() {}

    var countsKinds: Bool { removeAttention > 0 || removeFeedForward > 0 }
    var countsUnits: Bool { remove > 0 || countsKinds }
    var boundsTime: Bool { prefillMilliseconds > 0 || decodeMilliseconds > 0 }
    var boundsCost: Bool { removeParameters > 0 || parameterBytes > 0 || keyValueBytes > 0 || boundsTime }
    var boundsDamage: Bool { maxIncrease > 0 || maxDamage > 0 }

    /// The damage that may not be exceeded, if the start does `start`.
    func mostDamage(start: Double) -> Double {
        let absolute = maxDamage > 0 ? maxDamage : .infinity
        return maxIncrease > 0 ? min(absolute, start + maxIncrease * abs(start)) : absolute
    }

    /// Errors: `.argument` naming the bound that is out of range, or that there is none.
    func check(_ granularity: Granularity, _ costs: SearchCosts) throws(PruneError) {
        for (name, value) in [
            ("remove", remove), ("remove_attention", removeAttention), ("remove_feed_forward", removeFeedForward),
            ("parameter_bytes", parameterBytes), ("kv_bytes", keyValueBytes),
        ] where value < 0 {
            throw PruneError(.argument, "options.\(name) is \(value); it must be 0 (no such bound) or more")
        }
        for (name, value) in [
            ("prefill_ms", prefillMilliseconds), ("decode_ms", decodeMilliseconds),
            ("max_loss_increase", maxIncrease), ("max_damage", maxDamage), ("remove_parameters", removeParameters),
        ] where !(value >= 0 && value < .infinity) {
            throw PruneError(
                .argument, "options.\(name) is \(value); it must be 0 (no such bound) or a positive number")
        }
        guard removeParameters < 1 else {
            throw PruneError(
                .argument, "options.remove_parameters is \(removeParameters); it is a share, and must be below 1")
        }
        if countsKinds {
            guard granularity == .sublayer else {
                throw PruneError(
                    .argument, "options.remove_attention and options.remove_feed_forward are of sublayers; use remove")
            }
            guard remove == 0 else {
                throw PruneError(
                    .argument,
                    "options.remove is \(remove) beside remove_attention or remove_feed_forward; give one of the two")
            }
        }
        guard countsUnits || boundsCost || boundsDamage else {
            throw PruneError(.argument, "options have no budget; give remove, or another bound")
        }
        try checkTimes(costs)
    }

    /// A time beyond any model's: a quarter of an hour a token. Sums of times cannot overflow below it.
    private static let longestTime = 1e6

    private func checkTimes(_ costs: SearchCosts) throws(PruneError) {
        let count = costs.sublayers.count + 1
        guard times.isEmpty || times.count == count else {
            throw PruneError(
                .argument,
                "options.times has \(times.count) entries; this model needs \(count): one per sublayer, and one for the rest"
            )
        }
        guard !boundsTime || !times.isEmpty else {
            throw PruneError(.argument, "options.times is NULL, but a bound on time needs it; see prune_model_times()")
        }
        for (index, time) in times.enumerated() {
            for value in [time.prefill, time.decode] where !(value >= 0 && value <= Self.longestTime) {
                throw PruneError(
                    .argument, "options.times[\(index)] has \(value) ms; it must be 0 to \(Int(Self.longestTime)) ms")
            }
        }
    }
}
