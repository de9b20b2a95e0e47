// SPDX-License-Identifier: Apache-2.0
/// Where each block has its norms, and what their output is multiplied by.
///
/// Llamas of two papers differ from others here. Their training code takes the difference from its environment, NORM_TYPE
/// and POST_NUM; in config.json they are the keys `norm_type` and `post_num`:
/// - "lns": LayerNorm Scaling (arXiv 2502.05795), the output of the norms of block i times 1 / sqrt(i + 1);
/// - "pre_post": Mix-LN (arXiv 2412.13795), in the first `post_num` blocks h = norm(h + f(h)).
struct NormTypes {
    struct Block {
        let place: Place
        let factor: Float
    }

    enum Place {
        case before
        /// After the sum, under these names.
        case sum(attention: String?, feedForward: String?)
    }

    let blocks: [Block]
    let hasFinalNorm: Bool

    static func read(
        _ file: ConfigObject, _ architecture: Architecture, blockCount: Int
    ) throws(PruneError) -> NormTypes {
        let usual = Array(repeating: Block(place: .before, factor: 1), count: blockCount)
        switch architecture.norm.placing {
        case .beforeSublayers: return NormTypes(blocks: usual, hasFinalNorm: true)
        case .beforeIf(let key, let missing):
            if try file.bool(key, default: missing) { return NormTypes(blocks: usual, hasFinalNorm: true) }
            let names = architecture.names
            let place = Place.sum(attention: names.attention.before, feedForward: names.feedForward.before)
            return NormTypes(
                blocks: Array(repeating: Block(place: place, factor: 1), count: blockCount), hasFinalNorm: false)
        case .declared: return NormTypes(blocks: try readDeclared(file, usual), hasFinalNorm: true)
        }
    }

    private static func readDeclared(_ file: ConfigObject, _ usual: [Block]) throws(PruneError) -> [Block] {
        guard let type = try file.optionalString("norm_type") else { return usual }
        switch type.lowercased() {
        case "pre", "rms", "rmsnorm": return usual
        case "lns":
            return usual.indices.map { Block(place: .before, factor: 1 / Float($0 + 1).squareRoot()) }
        case "pre_post", "post_pre", "mix", "mixln":
            guard let count = try file.optionalCount("post_num", from: 0, limit: usual.count) else {
                throw file.missing("post_num")
            }
            // The names that Mix-LN's modelling code gives them.
            let place = Place.sum(
                attention: "post_attention_layernorm", feedForward: "post_feedforward_layernorm")
            return usual.indices.map { $0 < count ? Block(place: place, factor: 1) : usual[$0] }
        default:
            throw file.fault(
                .unsupported, "norm_type", "is \(type.quoted); supported are \"pre\", \"lns\" and \"pre_post\"")
        }
    }
}
