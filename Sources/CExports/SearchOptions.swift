// SPDX-License-Identifier: Apache-2.0
import CPruneCore
import PruneCore

private let searchOptionsSize = MemoryLayout<prune_search_options>.size

/// A mask of a caller; nil if it gave none. Errors: `.argument` naming the field.
private func optionalMask(
    _ bytes: UnsafePointer<UInt8>?, _ count: Int, _ handle: ModelHandle, _ name: String
) throws(PruneError) -> KeepMask? {
    guard let bytes else {
        guard count == 0 else {
            throw PruneError(.argument, "options.\(name) is NULL, but its count is \(UInt(bitPattern: count))")
        }
        return nil
    }
    guard count == handle.model.shape.sublayerCount else { throw wrongMaskLength(count, handle, "options.\(name)") }
    return try KeepMask(bytes: try array(bytes, count, "options.\(name)"))
}

/// The options of a search for a model. Errors: `.argument` naming the field; `.unsupported` for a start that takes blocks
/// apart which the model runs whole.
func searchOptions(
    _ options: UnsafePointer<prune_search_options>?, _ handle: ModelHandle
) throws(PruneError) -> SearchOptions {
    let given = try need(
        try readStruct(options, prune_search_options(), least: searchOptionsSize, "options"), "options")
    try checkReserved(given.reserved, "options")
    let strategy: StrategyKind = given.strategy == 0 ? .usual : try choice(given.strategy, "options.strategy")
    let shape = handle.model.shape
    var result = SearchOptions(
        SearchCosts(shape), strategy, try choice(given.granularity, "options.granularity"), try budget(given))
    result.seed = given.seed
    result.start = shape.present
    if let start = try optionalMask(given.start, given.n_start, handle, "start") {
        try shape.check(start)
        result.start = shape.present(in: start)
    }
    if let protected = try optionalMask(given.protect, given.n_protect, handle, "protect") {
        result.protected = protected.keeps
    }
    if let scores = given.scores {
        result.scores = try array(scores, given.n_scores, "options.scores")
    } else if given.n_scores != 0 {
        throw PruneError(
            .argument, "options.scores is NULL, but its count is \(UInt(bitPattern: given.n_scores))")
    }
    result.candidates = chosen(given.candidates)
    switch given.exchanges {
    case ..<(-1):
        throw PruneError(
            .argument, "options.exchanges is \(given.exchanges); it must be -1 (none), 0 (chosen) or more")
    case -1: result.exchanges = 0
    default: result.exchanges = chosen(given.exchanges)
    }
    result.offspring = chosen(given.offspring)
    result.generations = chosen(given.generations)
    result.patience = chosen(given.patience)
    return result
}

private func budget(_ given: prune_search_options) throws(PruneError) -> SearchBudget {
    var budget = SearchBudget()
    budget.remove = chosen(given.remove)
    budget.removeAttention = chosen(given.remove_attention)
    budget.removeFeedForward = chosen(given.remove_feed_forward)
    budget.removeParameters = chosen(given.remove_parameters)
    budget.parameterBytes = chosen(given.parameter_bytes)
    budget.keyValueBytes = chosen(given.kv_bytes)
    budget.prefillMilliseconds = chosen(given.prefill_ms)
    budget.decodeMilliseconds = chosen(given.decode_ms)
    budget.maxIncrease = chosen(given.max_loss_increase)
    budget.maxDamage = chosen(given.max_damage)
    if let times = given.times {
        budget.times = try array(times, given.n_times, "options.times").map {
            TokenTime(prefill: $0.prefill_ms, decode: $0.decode_ms)
        }
    } else if given.n_times != 0 {
        throw PruneError(.argument, "options.times is NULL, but its count is \(UInt(bitPattern: given.n_times))")
    }
    return budget
}
