// SPDX-License-Identifier: Apache-2.0
/// What the layers of a GGUF model are, where they are not alike: those of `deci`, which may lack their attention, have one
/// matrix in the place of it, or lack their feed-forward, and whose feed-forwards may differ in width.
///
/// llama.cpp needs a feed-forward in every layer and attention in the first: exports write zeros there, which are nothing
/// here, and a bias behind a feed-forward of zeros is an adapter.
struct GGUFLayers {
    private(set) var absent = AbsentSublayers.none
    /// By layer, of those that are there.
    private(set) var feedForwardSizes: [Int: Int] = [:]

    static let architecture = "deci"

    init() {}

    /// Errors: `.format` if a key is missing, or does not speak of all layers.
    init(_ facts: GGUFFacts, epsilon: Float) throws(PruneError) {
        guard facts.architecture.name == Self.architecture else { return }
        let metadata = facts.file.metadata
        func counts(_ ending: String, limit: Int) throws(PruneError) -> [Int] {
            let key = facts.key(ending)
            guard let counts = try metadata.optionalCounts(key, entries: facts.layerCount, limit: limit) else {
                throw metadata.missing(key)
            }
            return counts
        }
        let heads = try counts("attention.head_count", limit: ModelConfig.Limits.width)
        let keyValueHeads = try counts("attention.head_count_kv", limit: ModelConfig.Limits.width)
        let widths = try counts("feed_forward_length", limit: ModelConfig.Limits.feedForward)
        let width = try metadata.count(facts.key("embedding_length"), limit: ModelConfig.Limits.width)
        for layer in 0..<facts.layerCount {
            let prefix = "blk.\(layer)"
            if heads[layer] == 0 {
                absent.places.insert(2 * layer)
            } else if keyValueHeads[layer] == 0 {
                absent.places.insert(2 * layer)
                absent.adapters[2 * layer] = Self.linear(facts, prefix, width: width, epsilon: epsilon)
            }
            if widths[layer] == 0 {
                absent.places.insert(2 * layer + 1)
            } else if Self.isZero(facts, "\(prefix).ffn_down.weight") {
                absent.places.insert(2 * layer + 1)
                absent.adapters[2 * layer + 1] = Self.bias(facts, "\(prefix).ffn_down")
            } else {
                feedForwardSizes[layer] = widths[layer]
            }
        }
    }

    /// The matrix behind the norm of an attention, and its bias; nil if both are nothing.
    private static func linear(_ facts: GGUFFacts, _ prefix: String, width: Int, epsilon: Float) -> AdapterPlan? {
        let module = "\(prefix).attn_output"
        if isZero(facts, module + ".weight") { return bias(facts, module) }
        return AdapterPlan(
            kind: .linear, rank: 0,
            norm: NormPlan(
                kind: .rootMeanSquare, epsilon: epsilon, gains: ["\(prefix).attn_norm.weight"], shape: [width],
                bias: nil, offset: 0, factor: 1),
            bias: [module + ".bias"], mayLackBias: true, matrices: [[module + ".weight"]])
    }

    private static func bias(_ facts: GGUFFacts, _ module: String) -> AdapterPlan? {
        guard facts.names.contains(module + ".bias") else { return nil }
        return AdapterPlan(
            kind: .bias, rank: 0, norm: nil, bias: [module + ".bias"], mayLackBias: false, matrices: [])
    }

    /// Whether all bytes of a tensor are 0: in every type, so are its numbers. Of others the first block is read.
    private static func isZero(_ facts: GGUFFacts, _ name: String) -> Bool {
        facts.file.tensors[name]?.bytes.allSatisfy { $0 == 0 } ?? false
    }
}
