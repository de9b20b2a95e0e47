// SPDX-License-Identifier: Apache-2.0
@testable import PruneCore

#if canImport(Glibc)
    import Glibc
#endif

/// A Llama in double, written down from its papers: one sequence, no cache, nothing shared with the engine. The first
/// `postNormed` blocks are those of Mix-LN, h = norm(h + f(h)).
struct PlainLlama {
    let config: ModelConfig
    let tensors: [String: [Double]]
    var postNormed = 0
    let epsilon: Double

    init(_ config: ModelConfig, _ samples: [Sample], postNormed: Int = 0, epsilon: Double) {
        self.config = config
        self.postNormed = postNormed
        self.epsilon = epsilon
        var tensors: [String: [Double]] = [:]
        for sample in samples {
            tensors[sample.name] = stride(from: 0, to: sample.bytes.count, by: 4).map { place in
                sample.bytes.withUnsafeBytes { Double($0.loadUnaligned(fromByteOffset: place, as: Float.self)) }
            }
        }
        self.tensors = tensors
    }

    /// The logits of every token of a sequence; removed sublayers leave the norm of their sum.
    func logits(_ tokens: [Int], without removed: Set<Int> = []) -> [[Double]] {
        let width = config.hiddenSize
        let table = values("model.embed_tokens")
        var h = tokens.map { token in (0..<width).map { table[token * width + $0] } }
        for block in 0..<config.blockCount {
            let layer = "model.layers.\(block)."
            let isPost = block < postNormed
            for (sublayer, update) in [(2 * block, attention), (2 * block + 1, feedForward)] {
                let isAttention = sublayer % 2 == 0
                if !removed.contains(sublayer) {
                    let before = layer + (isAttention ? "input_layernorm" : "post_attention_layernorm")
                    let x = isPost ? h : h.map { norm($0, before) }
                    h = zip(h, update(x, layer)).map { zip($0, $1).map(+) }
                }
                let last = layer + (isAttention ? "post_attention_layernorm" : "post_feedforward_layernorm")
                if isPost { h = h.map { norm($0, last) } }
            }
        }
        return h.map { times("lm_head", norm($0, "model.norm")) }
    }

    private func values(_ module: String) -> [Double] { tensors[module + ".weight"] ?? [] }

    private func norm(_ x: [Double], _ module: String) -> [Double] {
        let scale = 1 / (x.reduce(0) { $0 + $1 * $1 } / Double(x.count) + epsilon).squareRoot()
        return zip(x, values(module)).map { $0 * scale * $1 }
    }

    private func times(_ module: String, _ x: [Double]) -> [Double] {
        let matrix = values(module)
        return (0..<matrix.count / x.count).map { row in
            x.indices.reduce(0) { $0 + matrix[row * x.count + $1] * x[$1] }
        }
    }

    private func attention(_ x: [[Double]], _ layer: String) -> [[Double]] {
        let size = config.headSize
        let group = config.headCount / config.kvHeadCount
        func heads(_ module: String, turned: Bool) -> [[[Double]]] {
            x.enumerated().map { position, row in
                let all = times(layer + "self_attn." + module, row)
                return (0..<all.count / size).map { head in
                    let own = Array(all[head * size..<(head + 1) * size])
                    return turned ? turn(own, position) : own
                }
            }
        }
        let (queries, keys) = (heads("q_proj", turned: true), heads("k_proj", turned: true))
        let values = heads("v_proj", turned: false)
        return x.indices.map { position in
            let mixed = (0..<config.headCount).flatMap { head in
                let scores = (0...position).map { other in
                    zip(queries[position][head], keys[other][head / group]).reduce(0) { $0 + $1.0 * $1.1 }
                        / Double(size).squareRoot()
                }
                let weights = softmax(scores)
                return (0..<size).map { place in
                    weights.indices.reduce(0) { $0 + weights[$1] * values[$1][head / group][place] }
                }
            }
            return times(layer + "self_attn.o_proj", mixed)
        }
    }

    private func turn(_ x: [Double], _ position: Int) -> [Double] {
        let half = x.count / 2
        var out = x
        for pair in 0..<half {
            let angle = Double(position) * pow(10_000, -Double(2 * pair) / Double(x.count))
            out[pair] = x[pair] * cos(angle) - x[pair + half] * sin(angle)
            out[pair + half] = x[pair + half] * cos(angle) + x[pair] * sin(angle)
        }
        return out
    }

    private func feedForward(_ x: [[Double]], _ layer: String) -> [[Double]] {
        x.map { row in
            let (gate, up) = (times(layer + "mlp.gate_proj", row), times(layer + "mlp.up_proj", row))
            return times(layer + "mlp.down_proj", zip(gate, up).map { $0 / (1 + exp(-$0)) * $1 })
        }
    }
}
