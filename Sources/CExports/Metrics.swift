// SPDX-License-Identifier: Apache-2.0
public import CPruneCore
import PruneCore

private let metricFactsSize = MemoryLayout<prune_metric_facts>.size

private let metricStrings = Metric.allCases.map { (LentString($0.facts.name), LentString($0.facts.formula)) }

/// The metrics that a set of bits asks for, in ascending order of their bits.
///
/// Errors: `.argument` for bits that are none of `allowed`, whether asked for by themselves or by one of the bits that
/// stand for several.
func chosenMetrics(_ bits: UInt64, of allowed: [Metric], _ argument: String) throws(PruneError) -> [Metric] {
    let sets: [(bit: UInt64, metrics: [Metric])] = [
        (UInt64(PRUNE_METRIC_ALL_OF_STATES), Metric.ofStates),
        (UInt64(PRUNE_METRIC_ALL_STATIC), Metric.allStatic),
        (UInt64(PRUNE_METRIC_ALL), Metric.allCases),
    ]
    var asked = bits
    for set in sets where bits & set.bit != 0 {
        asked = set.metrics.reduce(asked & ~set.bit) { $0 | $1.rawValue }
    }
    let unknown = asked & ~allowed.reduce(0) { $0 | $1.rawValue }
    guard unknown == 0 else {
        throw PruneError(.argument, "\(argument) is \(bits); the bits \(unknown) are not metrics of this call")
    }
    return allowed.filter { asked & $0.rawValue != 0 }
}

@c @implementation
public func prune_metric_count() -> Int { Metric.allCases.count }

@c @implementation
public func prune_metric_info(_ index: Int, _ out_facts: UnsafeMutablePointer<prune_metric_facts>!) -> prune_status {
    guarded { () throws(PruneError) in
        guard Metric.allCases.indices.contains(index) else {
            throw PruneError(.argument, "index is \(index); it must be below \(Metric.allCases.count)")
        }
        let metric = Metric.allCases[index]
        let facts = metric.facts
        let flags = [
            (facts.isStatic, PRUNE_FACT_STATIC), (facts.isOfStates, PRUNE_FACT_OF_STATES),
            (facts.needsData, PRUNE_FACT_NEEDS_DATA), (facts.needsWeights, PRUNE_FACT_NEEDS_WEIGHTS),
            (facts.needsGradients, PRUNE_FACT_NEEDS_GRADIENTS),
        ]
        let (name, formula) = metricStrings[index]
        let out = prune_metric_facts(
            struct_size: 0, facts: flags.reduce(0) { $0 | ($1.0 ? UInt32($1.1) : 0) }, bit: metric.rawValue,
            name: name.pointer, formula: formula.pointer)
        try writeStruct(out, to: out_facts, least: metricFactsSize, "out_facts")
    }
}
