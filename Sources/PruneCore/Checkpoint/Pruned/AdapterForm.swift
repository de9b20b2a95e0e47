// SPDX-License-Identifier: Apache-2.0
/// An adapter without its numbers.
struct AdapterForm: Sendable {
    let sublayer: Int
    let kind: AdapterKind
    let rank: Int
    /// Of its input's norm; nil = it has none.
    let epsilon: Float?
    var norm = NormKind.rootMeanSquare
}

extension AdapterForm {
    /// From an object with `kind`, `rank`, `input`, `epsilon` and `norm`. Errors: `.format`, naming the member.
    static func read(_ own: ConfigObject, at sublayer: Int) throws(PruneError) -> AdapterForm {
        let name = try own.string("kind")
        guard let kind = AdapterKind.allCases.first(where: { $0.name == name }) else {
            throw own.fault(.format, "kind", "is \(name.quoted), which is not a kind of adapter")
        }
        // The width bounds a rank nowhere else, but no file holds more.
        let rank = try own.optionalCount("rank", from: 0, limit: ModelConfig.Limits.width) ?? 0
        guard (kind == .lowRank) == (rank > 0) else {
            throw own.fault(.format, "rank", "is \(rank), which a \(kind.name) adapter cannot have")
        }
        let input = try own.string("input")
        guard input == "raw" || input == "normed" && kind != .bias else {
            throw own.fault(.format, "input", "is \(input.quoted), which a \(kind.name) adapter cannot have")
        }
        guard input == "normed" else {
            return AdapterForm(sublayer: sublayer, kind: kind, rank: rank, epsilon: nil)
        }
        let epsilon = Float(try own.positive("epsilon"))
        guard epsilon > 0, epsilon.isFinite else {
            throw own.fault(.format, "epsilon", "is \(epsilon) as a float; it must be finite and above 0")
        }
        let norm = try own.optionalString("norm") ?? NormKind.rootMeanSquare.name
        guard let normKind = [NormKind.rootMeanSquare, .layer].first(where: { $0.name == norm }) else {
            throw own.fault(.format, "norm", "is \(norm.quoted), which is not a kind of norm")
        }
        return AdapterForm(sublayer: sublayer, kind: kind, rank: rank, epsilon: epsilon, norm: normKind)
    }
}
