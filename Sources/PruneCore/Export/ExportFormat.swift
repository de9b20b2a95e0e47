// SPDX-License-Identifier: Apache-2.0
/// What an exported directory is. The raw values are those of `PRUNE_FORMAT_*`.
public enum ExportFormat: Int32, Sendable {
    /// `plain` where that can say it, else `custom`.
    case huggingFace = 0
    /// A checkpoint like any other, with fewer blocks.
    case plain = 1
    /// A checkpoint with a modelling file of its own.
    case custom = 2
    /// nemotron-nas, with `block_configs`.
    case deci = 3
    /// A checkpoint of all blocks, in which the outputs of removed sublayers are zeros.
    case zeroed = 4
    /// nemotron-nas as mlx-lm alone runs it, with linear layers in the places of adapters.
    case mlx = 5

    /// As prunecore.json and error texts call it.
    var name: String {
        switch self {
        case .huggingFace: "hf"
        case .plain: "hf_plain"
        case .custom: "hf_custom"
        case .deci: "deci"
        case .zeroed: "zeroed"
        case .mlx: "mlx"
        }
    }
}

/// How a model is exported.
public struct ExportOptions {
    public var format = ExportFormat.huggingFace
    /// Bytes of a file of weights at most; a larger tensor is a file of its own.
    public var shardBytes = 5_000_000_000
    /// A JSON object kept in prunecore.json; nil = an empty one.
    public var provenance: String?
    /// What quantised matrices become in a checkpoint, which has none.
    public var dequantisedType = ElementType.bfloat16
    /// The directory whose files of a tokenizer are taken along; nil = the model's.
    public var tokenizerDirectory: String?
    /// Whether a directory that PruneCore exported before is replaced.
    public var replaces = false
    /// The library's version, kept in prunecore.json.
    public var version: String

    public init(version: String) { self.version = version }
}

/// What a directory is to hold, before anything is written: the same for every format.
struct ExportPlan {
    /// A tensor and the name it gets.
    struct Tensor {
        enum Content {
            /// Copied as it is stored.
            case stored(StoredTensor)
            /// Put together from rows of others.
            case converted(ConvertedTensor)
            /// fp32 values, row-major.
            case values([Float], shape: [Int])
            /// Zeros, which are made as they are written.
            case zeros(ElementType, shape: [Int])
            /// A matrix as it is stored, with rows of zeros below it and columns of zeros beside it.
            case padded(StoredTensor, rows: Int, columns: Int)
            /// The matrix of an adapter, width x width; that of a low rank is multiplied out as it is written.
            case matrix(Adapter)
        }

        let name: String
        let content: Content

        var elementType: ElementType {
            switch content {
            case .stored(let tensor): tensor.elementType
            case .converted(let tensor): tensor.elementType
            case .values, .matrix: .float32
            case .zeros(let type, _): type
            case .padded(let tensor, _, _): tensor.elementType
            }
        }

        var shape: [Int] {
            switch content {
            case .stored(let tensor): tensor.shape
            case .converted(let tensor): tensor.shape
            case .values(_, let shape), .zeros(_, let shape): shape
            case .padded(_, let rows, let columns): [rows, columns]
            case .matrix(let adapter): [adapter.width, adapter.width]
            }
        }

        var byteCount: Int {
            switch content {
            case .stored(let tensor): tensor.byteCount
            case .converted(let tensor): tensor.elementType.bytes(of: tensor.shape.reduce(1, *))
            case .values(let values, _): 4 * values.count
            // Cannot overflow: see the limits of `ModelConfig`.
            case .zeros, .padded, .matrix: elementType.bytes(of: shape.reduce(1, *))
            }
        }
    }

    /// Any but `huggingFace`.
    let format: ExportFormat
    /// The text of config.json.
    let config: String
    /// In the order of the model.
    let tensors: [Tensor]
    /// Files that the format adds.
    let files: [(name: String, bytes: [UInt8])]
    /// What prunecore.json says beside what it says of every format.
    var notes: [String: JSONValue] = [:]
}
