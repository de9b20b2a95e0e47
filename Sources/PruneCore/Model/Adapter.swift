// SPDX-License-Identifier: Apache-2.0
/// What emulates one removed sublayer: h -> h + bias + matrix * x, with x = norm(h), or h itself where there is no norm.
///
/// A matrix of low rank is kept as two factors, up * down. All numbers are fp32, in one array, so that an optimiser can
/// work on them.
public struct Adapter: Sendable, Equatable {
    public let kind: AdapterKind
    /// Length of a hidden state.
    public let width: Int
    /// Of `lowRank`, at least 1; else 0.
    public let rank: Int
    /// The norm its input goes through; nil = none. A bias has no input.
    public let norm: InputNorm?
    /// The bias, `width` values; then for `lowRank` down, rank x width, and up, width x rank; for `linear` the matrix,
    /// width x width. Row-major.
    public var parameters: [Float]

    /// One that adds nothing.
    public init(_ kind: AdapterKind, width: Int, rank: Int = 0, norm: InputNorm? = nil) {
        self.kind = kind
        self.width = width
        self.rank = kind == .lowRank ? rank : 0
        self.norm = kind == .bias ? nil : norm
        parameters = Array(repeating: 0, count: Self.parameterCount(kind, width: width, rank: rank))
    }

    /// Cannot overflow for sizes of models that fit in memory: see `ModelConfig`.
    public static func parameterCount(_ kind: AdapterKind, width: Int, rank: Int) -> Int {
        switch kind {
        case .bias: width
        case .lowRank: width + 2 * width * rank
        case .linear: width + width * width
        }
    }

    public var biasRange: Range<Int> { 0..<width }
    /// Of `lowRank`; else empty.
    public var downRange: Range<Int> { width..<width + rank * width }
    public var upRange: Range<Int> { width + rank * width..<width + 2 * rank * width }
    /// Of `linear`; else empty.
    public var matrixRange: Range<Int> { width..<(kind == .linear ? width + width * width : width) }
}
