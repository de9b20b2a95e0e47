// SPDX-License-Identifier: Apache-2.0
/// The files that a GGUF model is split into, as `gguf-split` of llama.cpp names them: "name-00001-of-00003.gguf" and on. The
/// metadata is in the first.
struct GGUFSplits {
    /// Files at most: a bound for damaged counts.
    private static let most = 1 << 16
    private static let countKey = "split.count"
    private static let numberKey = "split.no"
    private static let tensorCountKey = "split.tensors.count"

    private let count: Int
    private let tensorCount: Int?
    /// All but the first, with their numbers, from 1.
    let others: [(number: Int, path: String)]

    /// Errors: `.format` if `path` is not the first, or is not named as the first of several.
    init(_ metadata: GGUFMetadata, _ path: String) throws(PruneError) {
        count = try metadata.optionalCount(Self.countKey, from: 0, limit: Self.most) ?? 1
        tensorCount = try metadata.optionalCount(Self.tensorCountKey, from: 0, limit: Int.max)
        guard count > 1 else {
            others = []
            return
        }
        let number = try metadata.optionalCount(Self.numberKey, from: 0, limit: Self.most) ?? 0
        let ending = "-\(Self.padded(number + 1))-of-\(Self.padded(count)).gguf"
        guard path.hasSuffix(ending) else {
            throw PruneError(
                .format,
                "\(path): this is part \(number + 1) of \(count), whose name must end in \(ending), so that the others are found"
            )
        }
        let stem = path.dropLast(ending.utf8.count)
        guard number == 0 else {
            throw PruneError(
                .format,
                "\(path): this is part \(number + 1) of \(count); open the first: \(stem)-\(Self.padded(1))-of-\(Self.padded(count)).gguf"
            )
        }
        let total = count
        others = (1..<total).map { ($0, "\(stem)-\(Self.padded($0 + 1))-of-\(Self.padded(total)).gguf") }
    }

    /// Errors: `.format` if a later part says that it is another.
    func check(_ metadata: GGUFMetadata, _ number: Int, _ path: String) throws(PruneError) {
        let own = try metadata.optionalCount(Self.numberKey, from: 0, limit: Self.most)
        let all = try metadata.optionalCount(Self.countKey, from: 0, limit: Self.most)
        guard own == number, all == count else {
            throw PruneError(
                .format,
                "\(path): it is named as part \(number + 1) of \(count), and calls itself \(own.map { String($0 + 1) } ?? "none") of \(all ?? 1)"
            )
        }
    }

    /// Errors: `.format` if all parts together hold more or fewer tensors than the first says.
    func check(tensorCount found: Int, _ path: String) throws(PruneError) {
        guard let tensorCount, count > 1, tensorCount != found else { return }
        throw PruneError(.format, "\(path): \(tensorCount) tensors are said to be in \(count) parts, and \(found) are")
    }

    private static func padded(_ number: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, 5 - digits.count)) + digits
    }
}
