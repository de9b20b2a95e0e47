// SPDX-License-Identifier: Apache-2.0
/// Feed-forwards of fewer neurons:
///
///     {"kind": "narrow", "feed_forward": {"0": [0, 1, 5], "7": [2, 3]}}
///
/// By block, the neurons that stay: a neuron is a row of gate and up with their biases, and the column of down that it
/// meets. Feed-forwards of other blocks stay as they are.
public struct FeedForwardNarrowing: Sendable, Equatable {
    static let kind = "narrow"
    private static let member = "feed_forward"

    /// By block, at least one, ascending.
    public let kept: [Int: [Int]]

    public init(kept: [Int: [Int]]) { self.kept = kept }

    init(_ object: EditObject, blocks: Int) throws(PruneError) {
        try object.requireOnly([Self.member])
        kept = try object.integers(Self.member, byNumberBelow: blocks, below: ModelConfig.Limits.feedForward)
        for (block, neurons) in kept.sorted(by: { $0.key < $1.key })
        where !zip(neurons, neurons.dropFirst()).allSatisfy({ $0 < $1 }) {
            throw object.fault(.format, Self.member, "has the neurons of block \(block) not in ascending order")
        }
    }

    var json: JSONValue {
        let entries = kept.map { block, neurons in (String(block), JSONValue.array(neurons.map { .integer($0) })) }
        return .object([
            "kind": .string(Self.kind), Self.member: .object(Dictionary(uniqueKeysWithValues: entries)),
        ])
    }
}
