// SPDX-License-Identifier: Apache-2.0
/// Which sublayers of a model are kept: entry u says it of sublayer u.
///
/// A removed sublayer leaves the residual stream as it is. Its norm is not computed and its keys and values are not
/// stored; the positions of the others do not change.
public struct KeepMask: Sendable, Equatable, Hashable {
    /// Blocks of a model at most. A bound for checks, far beyond any model.
    public static let mostBlocks = 4096

    /// 2 * blockCount entries.
    public private(set) var keeps: [Bool]

    /// The mask that keeps everything.
    public init(blocks: Int) {
        keeps = Array(repeating: true, count: 2 * blocks)
    }

    /// A mask from one byte per sublayer, 1 = kept and 0 = removed.
    ///
    /// Errors: `.argument` if a byte is neither.
    public init(bytes: [UInt8]) throws(PruneError) {
        if let wrong = bytes.firstIndex(where: { $0 > 1 }) {
            throw PruneError(
                .argument,
                "keep mask: entry \(wrong) (\(sublayerName(wrong))) is \(bytes[wrong]); write 1 to keep, 0 to remove")
        }
        keeps = bytes.map { $0 == 1 }
    }

    public var bytes: [UInt8] { keeps.map { $0 ? 1 : 0 } }
    public var blockCount: Int { keeps.count / 2 }

    /// Kept sublayers, ascending.
    public var kept: [Int] { keeps.indices.filter { keeps[$0] } }
    public var keptCount: Int { keeps.count { $0 } }
    /// Removed sublayers, ascending.
    public var removed: [Int] { keeps.indices.filter { !keeps[$0] } }

    public func keeps(_ sublayer: Int) -> Bool { keeps[sublayer] }

    /// True if some sublayer of the unit is kept.
    public func keepsAny(ofUnit unit: Int, _ granularity: Granularity) -> Bool {
        granularity.sublayers(ofUnit: unit).contains { keeps[$0] }
    }

    /// The mask without the unit.
    public func removing(unit: Int, _ granularity: Granularity) -> KeepMask {
        var mask = self
        for sublayer in granularity.sublayers(ofUnit: unit) { mask.keeps[sublayer] = false }
        return mask
    }

    /// The mask without some units.
    func removing(units: some Sequence<Int>, _ granularity: Granularity) -> KeepMask {
        var mask = self
        for unit in units {
            for sublayer in granularity.sublayers(ofUnit: unit) { mask.keeps[sublayer] = false }
        }
        return mask
    }

    /// The mask without the `count` units that have the lowest scores among those kept whole; ties go to the lower index.
    ///
    /// Errors: `.argument` if the scores are not one per unit, or fewer than `count` units are kept whole;
    /// `.nonFinite` if a score is not finite, naming the unit.
    public func removingLowest(
        _ count: Int, by scores: [Double], _ granularity: Granularity
    ) throws(PruneError) -> KeepMask {
        let units = granularity.unitCount(blocks: blockCount)
        guard scores.count == units else {
            throw PruneError(
                .argument, "\(scores.count) scores for \(units) units of this granularity; give one per unit")
        }
        if let bad = scores.firstIndex(where: { !$0.isFinite }) {
            throw PruneError(
                .nonFinite, "the score of \(granularity.name(ofUnit: bad)) is \(scores[bad]); scores must be finite")
        }
        let whole = (0..<units).filter { granularity.sublayers(ofUnit: $0).allSatisfy { keeps[$0] } }
        guard count <= whole.count else {
            throw PruneError(.argument, "cannot remove \(count) units: only \(whole.count) are kept whole")
        }
        let order = whole.sorted { (scores[$0], $0) < (scores[$1], $1) }
        return removing(units: order.prefix(count), granularity)
    }
}
