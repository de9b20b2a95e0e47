// SPDX-License-Identifier: Apache-2.0
/// How nemotron-nas says the widths of feed-forward layers: `ffn_mult`, of which a runtime takes 2/3 times the hidden size, and
/// the next multiple of 256; or `intermediate_size`, where no multiple gives a width.
struct DeciWidths {
    /// What widths by `ffn_mult` are multiples of.
    static let step = 256

    /// By block; nil where it is not kept.
    private let widths: [Int?]
    /// The same as `ffn_mult`; nil where some width cannot be said so.
    private let multiples: [Double?]?

    init(_ subject: ExportSubject) {
        self.init(
            hidden: subject.config.hiddenSize,
            (0..<subject.mask.blockCount).map { block in
                guard subject.mask.keeps(2 * block + 1),
                    case .feedForward(let plan) = subject.config.sublayers[2 * block + 1].update
                else { return nil }
                return plan.down.inputs
            })
    }

    /// - Parameter widths: by block; nil where there is none.
    init(hidden: Int, _ widths: [Int?]) {
        let multiples = widths.map { width in width.flatMap { Self.multiple(giving: $0, of: hidden) } }
        let saysAll = zip(widths, multiples).allSatisfy { $0 == nil || $1 != nil }
        self.widths = widths
        self.multiples = saysAll ? multiples : nil
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

    /// For prunecore.json: how widths are written, and which runtimes read that.
    var notes: [String: JSONValue] {
        let runtimes =
            multiples == nil ? ["transformers", "vLLM"] : ["transformers", "vLLM", "SGLang", "mlx-lm"]
        return [
            "feed_forward_width": .string(multiples == nil ? "intermediate_size" : "ffn_mult"),
            "runtimes": .array(runtimes.map { .string($0) }),
        ]
    }

    /// The feed-forward of a block.
    func json(_ block: Int, _ part: DeciConfig.Part) -> JSONValue {
        var width: (key: String, value: JSONValue) = ("ffn_mult", .null)
        if part == .whole, let own = widths[block] {
            width =
                (multiples?[block]).map { ("ffn_mult", .number($0)) } ?? ("intermediate_size", .integer(own))
        }
        return .object([
            width.key: width.value, "no_op": .bool(part == .none), "replace_with_linear": .bool(part == .linear),
            "sparsify": .null,
        ])
    }
}
