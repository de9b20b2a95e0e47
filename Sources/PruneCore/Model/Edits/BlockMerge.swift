// SPDX-License-Identifier: Apache-2.0
/// Blocks merged into one, which a mask then keeps alone (sliding layer merging, arXiv 2502.19159):
///
///     {"kind": "merge", "into": 3, "from": [4, 5], "weight": 0.5}
///
/// With f = weight, the matrices of block 3, and the biases that are added to their products, become
///
///     sum       W_3 + f (W_4 - W_3) + f (W_5 - W_3)
///     running   W <- W + f (W_k - W) for k = 4, then 5, from W = W_3
///
/// "rule" says which; it is "sum" where it is not given. Norms stay those of block 3, and so does all that is no weight, such
/// as its window. Under both rules, the weights of one block with f = 1 become those of the other; running with f = 1 leaves
/// those of the last block alone.
public struct BlockMerge: Sendable, Equatable {
    static let kind = "merge"

    public enum Rule: String, Sendable, CaseIterable {
        case sum
        case running
    }

    public let into: Int
    /// At least one, none of them `into`, none twice.
    public let from: [Int]
    /// Finite.
    public let weight: Double
    public let rule: Rule

    public init(into: Int, from: [Int], weight: Double, rule: Rule = .sum) {
        self.into = into
        self.from = from
        self.weight = weight
        self.rule = rule
    }

    init(_ object: EditObject, blocks: Int) throws(PruneError) {
        try object.requireOnly(["into", "from", "weight", "rule"])
        into = try object.integer("into", below: blocks)
        from = try object.integers("from", below: blocks)
        weight = try object.number("weight")
        guard !from.contains(into) else {
            throw object.fault(.format, "from", "has \(into), the block that is merged into")
        }
        guard object.has("rule") else {
            rule = .sum
            return
        }
        let name = try object.text("rule")
        guard let rule = Rule(rawValue: name) else {
            throw object.fault(.format, "rule", "is \(name.quoted); it must be \"sum\" or \"running\"")
        }
        self.rule = rule
    }

    var json: JSONValue {
        var members: [String: JSONValue] = [
            "kind": .string(Self.kind), "into": .integer(into), "from": .array(from.map { .integer($0) }),
            "weight": .number(weight),
        ]
        if rule != .sum { members["rule"] = .string(rule.rawValue) }
        return .object(members)
    }

    /// What each block counts in the merged one: `into` first, then those of `from`. They add up to 1.
    var shares: [Double] {
        switch rule {
        case .sum: return [1 - Double(from.count) * weight] + from.map { _ in weight }
        case .running:
            // Every step leaves 1 - f of what was there.
            return (0...from.count).map { index in
                let later = from.count - index
                return (index == 0 ? 1 : weight) * (0..<later).reduce(1.0) { share, _ in share * (1 - weight) }
            }
        }
    }
}
