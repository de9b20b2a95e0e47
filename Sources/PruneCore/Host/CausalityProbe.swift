// SPDX-License-Identifier: Apache-2.0
/// Short sequences that tell whether a model sees the future: each begins like the first and goes on differently.
struct CausalityProbe {
    private static let usualLength = 16
    private static let mostTokens = 64

    /// The sequence that the others are compared with.
    let whole: [Int32]
    /// One that shares its first token with `whole`, or its first two; and one that shares half of it.
    let others: [(prefix: Int, tokens: [Int32])]

    /// A part of the last of `others`, to be computed beside `whole`: of another length, so that hosts which pad do so.
    var neighbour: [Int32] { Array(others[1].tokens.dropLast(whole.count / 4)) }

    /// Tokens are spread over the vocabulary, scattered and always the same; where it is not known, they are the caller's.
    ///
    /// - Parameter shortest: the fewest tokens that are shared.
    /// - Returns: nil where there are no such sequences: of a context of three tokens, or of one token that is known.
    init?(_ shape: ModelShape, tokensOf data: TokenData, shortest: Int) {
        let length = shape.contextLength > 0 ? min(shape.contextLength, Self.usualLength) : Self.usualLength
        let known = Self.knownTokens(shape, data)
        guard length >= 4, known.count >= 2 else { return nil }
        var state: UInt64 = 0x9E37_79B9_7F4A_7C15
        let places = (0..<length).map { _ in
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % known.count
        }
        whole = places.map { known[$0] }
        others = [shortest, length / 2].map { prefix in
            let tokens = places.enumerated().map { index, place in
                // Another one at every place from there on.
                known[index < prefix ? place : (place + 1 + index % (known.count - 1)) % known.count]
            }
            return (prefix, tokens)
        }
    }

    private static func knownTokens(_ shape: ModelShape, _ data: TokenData) -> [Int32] {
        guard shape.vocabularySize == 0 else {
            let count = min(shape.vocabularySize, mostTokens)
            return (0..<count).map { Int32($0 * shape.vocabularySize / count) }
        }
        var found: Set<Int32> = []
        for token in data.tokens where found.count < mostTokens { found.insert(token) }
        return found.sorted()
    }
}
