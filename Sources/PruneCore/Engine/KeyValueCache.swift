// SPDX-License-Identifier: Apache-2.0
/// Keys and values of one attention sublayer: rows of `width` floats each.
private struct CachedRows {
    var keys: FloatBuffer
    var values: FloatBuffer
    var capacity: Int
}

/// The keys and values of one sequence, in fp32, for the attention sublayers that a mask keeps: a removed one has no
/// entry.
///
/// Position p has row p of a sublayer; where queries see no more than `window` keys, row p modulo the window. The rows
/// of a window are then out of order, which attention does not mind: keys carry their positions in their rotation. Used
/// by one thread at a time.
final class KeyValueCache {
    /// Tokens whose keys and values are held, those that a window has forgotten included.
    private(set) var length = 0
    /// These tokens.
    private var tokens: [Int32] = []
    /// Tokens that the sequence will have at most; memory grows no further.
    private let expected: Int
    private let width: Int
    private let windows: [Int?]
    /// By block; nil where attention is removed, or nothing was stored yet.
    private var blocks: [CachedRows?]

    /// An empty cache for a sequence of at most `expected` tokens.
    init(_ config: ModelConfig, expected: Int) {
        self.expected = expected
        width = config.kvHeadCount * config.headSize
        windows = (0..<config.blockCount).map { config.window(ofBlock: $0) }
        blocks = Array(repeating: nil, count: config.blockCount)
    }

    /// Bytes of memory that are held.
    var bytes: Int {
        blocks.reduce(0) { $0 + 2 * ($1?.capacity ?? 0) * width * MemoryLayout<Float>.stride }
    }

    /// Bytes that a sequence of `tokens` takes at most under a mask.
    static func bytes(_ config: ModelConfig, under mask: KeepMask, tokens: Int) -> Int {
        let row = 2 * config.kvHeadCount * config.headSize * MemoryLayout<Float>.stride
        return (0..<config.blockCount).reduce(0) { sum, block in
            guard mask.keeps(2 * block) else { return sum }
            // Cannot overflow: at most 2^12 blocks, 2^31 tokens, and 2^20 floats in a row of keys.
            return sum + row * min(tokens, config.window(ofBlock: block) ?? tokens)
        }
    }

    /// Stores the keys and values of the `count` tokens that follow those held; they count once `advance` says so.
    ///
    /// Errors: `.memory`.
    func store(
        block: Int, _ keys: UnsafePointer<Float>, _ values: UnsafePointer<Float>, count: Int
    ) throws(PruneError) {
        let limit = windows[block] ?? Int.max
        let rows = try room(block: block, for: min(length + count, limit))
        // Of more tokens than a window holds, the last ones remain.
        let skipped = max(0, count - limit)
        var index = skipped
        while index < count {
            let row = (length + index) % limit
            let run = min(count - index, limit - row)
            // Safe: row + run is at most the rows that there is room for.
            (rows.keys.pointer + row * width).update(from: keys + index * width, count: run * width)
            (rows.values.pointer + row * width).update(from: values + index * width, count: run * width)
            index += run
        }
    }

    /// Counts tokens whose keys and values every kept sublayer has stored.
    func advance(by added: [Int32]) {
        length += added.count
        tokens += added
    }

    /// Forgets everything, since the keys of the tokens held would be others in a sequence that is longer.
    ///
    /// - Returns: the tokens.
    func restart() -> [Int32] {
        defer { (length, tokens) = (0, []) }
        return tokens
    }

    /// What the query of the token after the `length` held ones sees, its own key and value stored already.
    ///
    /// Errors: `.internal` if nothing was stored.
    func visible(block: Int) throws(PruneError) -> (keys: FloatBuffer, values: FloatBuffer, count: Int) {
        guard let rows = blocks[block] else { throw PruneError(.internal, "nothing is cached for block \(block)") }
        return (rows.keys, rows.values, min(length + 1, windows[block] ?? Int.max))
    }

    /// Memory for at least `needed` rows, with those held. It doubles as it grows, up to what will be needed at most.
    private func room(block: Int, for needed: Int) throws(PruneError) -> CachedRows {
        let held = blocks[block]
        if let held, held.capacity >= needed { return held }
        let most = min(expected, windows[block] ?? Int.max)
        let capacity = max(needed, min(most, max(64, 2 * (held?.capacity ?? needed))))
        let larger = CachedRows(
            keys: try FloatBuffer(count: capacity * width), values: try FloatBuffer(count: capacity * width),
            capacity: capacity)
        if let held {
            larger.keys.pointer.update(from: held.keys.pointer, count: held.capacity * width)
            larger.values.pointer.update(from: held.values.pointer, count: held.capacity * width)
        }
        blocks[block] = larger
        return larger
    }
}
