// SPDX-License-Identifier: Apache-2.0
internal import CKernels

extension UnitStatistics {
    /// Tokens whose sums are added up by one thread. Fixed, so that results do not depend on the thread count.
    static let pieceTokens = 64

    /// Pieces between two collections of their sums, so that these take little memory however many rows there are.
    private static let piecesAtOnce = 4096

    /// The sums of some tokens, given the hidden states before and after the unit.
    ///
    /// - Parameter name: of the unit, for errors.
    /// Errors: `.argument` if the two are not of the same tokens; `.nonFinite` naming unit and row; `.memory`.
    init(before: StateRows, after: StateRows, name: String) throws(PruneError) {
        guard before.count == after.count, before.width == after.width else {
            throw PruneError(
                .argument,
                "before has \(before.count) rows of \(before.width) values, after \(after.count) of \(after.width); "
                    + "give the states of the same tokens")
        }
        self.init()
        let wave = Self.piecesAtOnce * Self.pieceTokens
        var scratch: [(before: FloatBuffer, after: FloatBuffer)] = []
        for _ in 0..<min(ThreadPool.threads, before.count / Self.pieceTokens + 1) {
            scratch.append((try FloatBuffer(count: before.scratchCount), try FloatBuffer(count: after.scratchCount)))
        }
        for first in stride(from: 0, to: before.count, by: wave) {
            let rows = first..<first + min(before.count - first, wave)
            try add(before, after, rows, scratch, name)
        }
    }

    private mutating func add(
        _ before: StateRows, _ after: StateRows, _ rows: Range<Int>,
        _ scratch: [(before: FloatBuffer, after: FloatBuffer)], _ name: String
    ) throws(PruneError) {
        let pieces = stride(from: rows.lowerBound, to: rows.upperBound, by: Self.pieceTokens).map { first in
            first..<min(rows.upperBound, first + Self.pieceTokens)
        }
        var sums = [Result<UnitStatistics, NonFiniteRow>](repeating: .success(UnitStatistics()), count: pieces.count)
        sums.withUnsafeMutableBufferPointer { sums in
            // Safe: each index is written by one thread, once, and each slot's scratch is used by one thread at a time.
            nonisolated(unsafe) let sums = sums
            ThreadPool.forEach(pieces.count, slots: scratch.count) { index, slot in
                sums[index] = Self.sum(before, after, pieces[index], scratch[slot])
            }
        }
        for sum in sums {
            switch sum {
            case .success(let sum): merge(sum)
            // The first in order, whichever thread met it.
            case .failure(let found):
                throw PruneError(
                    .nonFinite,
                    "row \(found.row) of the states \(found.isBefore ? "before" : "after") \(name) is not finite; "
                        + "nothing was added")
            }
        }
    }

    private struct NonFiniteRow: Error {
        let row: Int
        let isBefore: Bool
    }

    private static func sum(
        _ before: StateRows, _ after: StateRows, _ rows: Range<Int>,
        _ scratch: (before: FloatBuffer, after: FloatBuffer)
    ) -> Result<UnitStatistics, NonFiniteRow> {
        var sum = UnitStatistics()
        var failure: NonFiniteRow?
        before.read(rows, scratch: scratch.before.pointer) { group, h, hStride in
            after.read(group, scratch: scratch.after.pointer) { part, g, gStride in
                for row in part where failure == nil {
                    let norms = kernel_pair(
                        Kernels.level, h + (row - group.lowerBound) * hStride, g + (row - part.lowerBound) * gStride,
                        before.width)
                    if (norms.before.squares + norms.after.squares).isFinite {
                        sum.add(before: norms.before, after: norms.after, update: norms.update)
                    } else {
                        failure = NonFiniteRow(row: row, isBefore: !norms.before.squares.isFinite)
                    }
                }
            }
        }
        return failure.map { .failure($0) } ?? .success(sum)
    }
}
