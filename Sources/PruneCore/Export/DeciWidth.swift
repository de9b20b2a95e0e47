// SPDX-License-Identifier: Apache-2.0
/// How nemotron-nas says the width of a feed-forward layer: `ffn_mult`, of which a runtime takes 2/3 times the hidden size,
/// and the next multiple of 256; or `intermediate_size`, where no multiple gives the width.
struct DeciWidth {
    /// What widths by `ffn_mult` are multiples of.
    static let step = 256

    let key: String
    private let value: JSONValue

    /// - Parameter width: nil = the model's.
    init(_ model: ModelConfig, width: Int? = nil) {
        let width = width ?? model.feedForwardSize
        if let multiple = Self.multiple(giving: width, of: model.hiddenSize) {
            (key, value) = ("ffn_mult", .number(multiple))
        } else {
            (key, value) = ("intermediate_size", .integer(width))
        }
    }

    /// The `ffn_mult` that gives a width in every runtime; nil if none does.
    static func multiple(giving width: Int, of hidden: Int) -> Double? {
        guard width % step == 0 else { return nil }
        // The ratio itself, as NVIDIA's files have it; or that of a width half a step lower, which no rounding moves to
        // another multiple.
        return [width, width - step / 2].lazy.map { 3 * Double($0) / (2 * Double(hidden)) }.first { multiple in
            // mlx-lm keeps 6 digits behind the point.
            [multiple, (multiple * 1e6).rounded(.toNearestOrEven) / 1e6].allSatisfy { read in
                // In Python's double arithmetic. Cannot overflow: sizes are bounded.
                let least = Int(2 * read * Double(hidden) / 3)
                return (least + step - 1) / step * step == width
            }
        }
    }

    /// For prunecore.json: how the width is written, and which runtimes read that.
    var notes: [String: JSONValue] {
        let runtimes = key == "ffn_mult" ? ["transformers", "vLLM", "SGLang", "mlx-lm"] : ["transformers", "vLLM"]
        return ["feed_forward_width": .string(key), "runtimes": .array(runtimes.map { .string($0) })]
    }

    func block(_ part: DeciConfig.Part) -> JSONValue {
        .object([
            part == .whole ? key : "ffn_mult": part == .whole ? value : .null, "no_op": .bool(part == .none),
            "replace_with_linear": .bool(part == .linear), "sparsify": .null,
        ])
    }
}
