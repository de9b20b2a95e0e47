// SPDX-License-Identifier: Apache-2.0
/// What a healing trains, as users name it: "head,final_norm,last:3".
///
///     head          the matrix that makes the logits, and its bias
///     final_norm    the norm before the head
///     norms         the norms of all kept sublayers, and the final one
///     embedding     the embedding of tokens
///     last:K        the last K blocks of which the mask keeps something
///     block.I, attn.I, ffn.I    what the mask keeps of a block of the whole model
///     all           all that the mask leaves
struct TrainedNames: Equatable {
    private(set) var head = false
    private(set) var embedding = false
    private(set) var finalNorm = false
    private(set) var norms = false
    private(set) var everything = false
    /// Kept sublayers that are trained whole, ascending.
    private(set) var sublayers: [Int] = []

    private static let known = "head, final_norm, norms, embedding, all, last:K, block.I, attn.I, ffn.I"

    /// - Parameter mask: what is kept.
    /// Errors: `.argument` for a name that is none of these, or of what the mask removes; or if there is none.
    init(_ text: String, under mask: KeepMask) throws(PruneError) {
        let names = text.split(separator: ",").map { part in
            String(part.filter { !$0.isWhitespace }.map { $0 == "-" ? "_" : $0 })
        }.filter { !$0.isEmpty }
        guard !names.isEmpty else {
            throw PruneError(.argument, "train names nothing: its entries are \(Self.known)")
        }
        guard mask.keptCount > 0 else {
            throw PruneError(.argument, "the mask removes every sublayer: there is no model left to heal")
        }
        var found: Set<Int> = []
        for name in names {
            switch name {
            case "head": head = true
            case "embedding": embedding = true
            case "final_norm": finalNorm = true
            case "norms": (norms, finalNorm) = (true, true)
            case "all": everything = true
            default: found.formUnion(try Self.sublayers(named: name, mask))
            }
        }
        if everything {
            (head, embedding, finalNorm, norms) = (true, true, true, true)
            found.formUnion(mask.kept)
        }
        sublayers = found.sorted()
    }

    /// The kept sublayers that a name with a number stands for.
    private static func sublayers(named name: String, _ mask: KeepMask) throws(PruneError) -> [Int] {
        func number(after beginning: String) -> Int? {
            guard name.hasPrefix(beginning) else { return nil }
            let digits = name.dropFirst(beginning.count)
            guard (1...9).contains(digits.utf8.count), digits.utf8.allSatisfy({ (48...57).contains($0) }) else {
                return nil
            }
            return Int(digits)
        }
        func kept(_ block: Int) -> [Int] { [2 * block, 2 * block + 1].filter(mask.keeps) }
        if let count = number(after: "last:") {
            let blocks = (0..<mask.blockCount).filter { !kept($0).isEmpty }
            guard (1...blocks.count).contains(count) else {
                throw PruneError(
                    .argument,
                    "train names \(name), but the mask keeps \(blocks.count) blocks: give 1 to \(blocks.count)")
            }
            return blocks.suffix(count).flatMap(kept)
        }
        for (beginning, places) in [("block.", [0, 1]), ("attn.", [0]), ("ffn.", [1])] {
            guard let block = number(after: beginning) else { continue }
            guard block < mask.blockCount else {
                throw PruneError(
                    .argument,
                    "train names \(name), but the model has \(mask.blockCount) blocks, 0 to \(mask.blockCount - 1)")
            }
            let found = places.map { 2 * block + $0 }.filter(mask.keeps)
            guard !found.isEmpty else {
                throw PruneError(.argument, "train names \(name), which the mask removes: leave it out")
            }
            return found
        }
        throw PruneError(.argument, "train has \(name.quoted), but its entries are \(known)")
    }

    /// Checks what is asked of a head, by whether it is the matrix of the embedding.
    ///
    /// Errors: `.argument` if one of the two alone is to be trained where they are one matrix; or if there is nothing to
    /// untie for.
    func checkHead(isTied: Bool, untie: Bool) throws(PruneError) {
        guard head || embedding || !untie else {
            throw PruneError(.argument, "untie_head is set, but train names neither head nor embedding: leave it out")
        }
        // All of a model includes its one matrix, which serves both ends, and is trained at both.
        guard !isTied || untie || everything || !(head || embedding) else {
            let name = head ? "head" : "embedding"
            throw PruneError(
                .argument,
                "train names \(name), but the model's head and embedding are one matrix (tied): set untie_head, which makes the head a matrix of its own, or leave \(name) out"
            )
        }
    }
}
