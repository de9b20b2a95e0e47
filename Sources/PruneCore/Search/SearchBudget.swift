// SPDX-License-Identifier: Apache-2.0
/// How much a search removes. nil = no such bound; where there are several, all hold.
public struct SearchBudget: Sendable, Equatable {
    /// Units beyond those that the start lacks: exactly as many.
    public var remove: Int?
    /// Attention and feed-forward sublayers, exactly as many of each. Where one is given, the other is 0 unless given too.
    public var removeAttention: Int?
    public var removeFeedForward: Int?
    /// Share of the parameters of the whole model, at least.
    public var removeParameters: Double?
    /// What is left, at most.
    public var parameterBytes: Int?
    public var keyValueBytes: Int?
    /// Milliseconds per token of what is left, at most.
    public var prefillMilliseconds: Double?
    public var decodeMilliseconds: Double?
    /// 2 * n_blocks + 1 entries: the sublayers in order, and what no mask removes. Empty = not known.
    public var times: [TokenTime] = []
    /// Damage at most this share above that of the start.
    public var maxIncrease: Double?
    /// Damage at most.
    public var maxDamage: Double?

    public init() {}

    var countsKinds: Bool { removeAttention != nil || removeFeedForward != nil }
    var countsUnits: Bool { remove != nil || countsKinds }
    var boundsTime: Bool { prefillMilliseconds != nil || decodeMilliseconds != nil }
    var boundsCost: Bool { removeParameters != nil || parameterBytes != nil || keyValueBytes != nil || boundsTime }
    var boundsDamage: Bool { maxIncrease != nil || maxDamage != nil }

    /// The damage that may not be exceeded, if the start does `start`.
    func mostDamage(start: Double) -> Double {
        min(maxDamage ?? .infinity, maxIncrease.map { start + $0 * abs(start) } ?? .infinity)
    }

    /// Errors: `.argument` naming the bound that is out of range, or that there is none.
    func check(_ granularity: Granularity, _ costs: SearchCosts) throws(PruneError) {
        for (name, value) in [
            ("remove", remove), ("remove_attention", removeAttention), ("remove_feed_forward", removeFeedForward),
            ("parameter_bytes", parameterBytes), ("kv_bytes", keyValueBytes),
        ] {
            guard let value, value < 1 else { continue }
            throw PruneError(.argument, "options.\(name) is \(value); it must be at least 1")
        }
        for (name, value) in [
            ("prefill_ms", prefillMilliseconds), ("decode_ms", decodeMilliseconds),
            ("max_loss_increase", maxIncrease), ("max_damage", maxDamage), ("remove_parameters", removeParameters),
        ] {
            guard let value, !(value > 0 && value < .infinity) else { continue }
            throw PruneError(.argument, "options.\(name) is \(value); it must be finite and above 0")
        }
        if let removeParameters, removeParameters >= 1 {
            throw PruneError(
                .argument, "options.remove_parameters is \(removeParameters); it is a share, and must be below 1")
        }
        if countsKinds {
            guard granularity == .sublayer else {
                throw PruneError(
                    .argument, "options.remove_attention and options.remove_feed_forward are of sublayers; use remove")
            }
            if let remove {
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
