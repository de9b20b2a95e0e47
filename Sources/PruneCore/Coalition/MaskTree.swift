// SPDX-License-Identifier: Apache-2.0
/// Some masks as a prefix tree over sublayers: masks that agree up to a sublayer share the hidden state there.
///
/// A removed sublayer costs nothing, and a kept one is applied once for all masks below it. Leave-one-out over n
/// sublayers thus takes n + n (n - 1) / 2 sublayers instead of n + n (n - 1).
struct MaskTree {
    /// The distinct masks in the tree's order: where two differ first, the one that keeps comes first. So the mask that
    /// keeps most of all, if it is there, is the first. Masks that share a prefix stand side by side.
    let masks: [KeepMask]
    /// For each mask given, its place in `masks`.
    let places: [Int]
    /// The sublayer at which masks i and i + 1 differ first. The state before it is the last that they share.
    let branches: [Int]
    /// For each entry of `branches` the nearest one after it, or before it, that is less; -1 = none.
    private let lessAfter: [Int]
    private let lessBefore: [Int]

    init(_ given: [KeepMask]) {
        let sorted = Set(given).sorted { a, b in a.keeps.lexicographicallyPrecedes(b.keeps) { $0 && !$1 } }
        let placeOf = Dictionary(uniqueKeysWithValues: sorted.enumerated().map { ($1, $0) })
        masks = sorted
        places = given.map { placeOf[$0] ?? 0 }
        branches = zip(sorted, sorted.dropFirst()).map { a, b in
            zip(a.keeps, b.keeps).enumerated().first { $1.0 != $1.1 }?.offset ?? 0
        }
        lessAfter = Self.nearestLess(branches, branches.indices.reversed())
        lessBefore = Self.nearestLess(branches, branches.indices)
    }

    /// For each value the nearest one that is less, among those that come before it in `order`.
    private static func nearestLess(_ values: [Int], _ order: some Sequence<Int>) -> [Int] {
        var nearest = Array(repeating: -1, count: values.count)
        var open: [Int] = []
        for index in order {
            while let last = open.last, values[last] >= values[index] { open.removeLast() }
            nearest[index] = open.last ?? -1
            open.append(index)
        }
        return nearest
    }

    /// Sublayers that are applied to each batch if every branch state can be held: of each mask, those after it left
    /// the one before it.
    var sublayers: Int {
        masks.indices.reduce(0) { sum, place in
            sum + masks[place].keeps.dropFirst(place == 0 ? 0 : branches[place - 1]).count { $0 }
        }
    }

    /// Of masks that agree before `sublayer`, those that keep it; the rest remove it.
    func keeping(_ sublayer: Int, of places: Range<Int>) -> Range<Int> {
        var first = places.lowerBound
        var end = places.upperBound
        while first < end {
            let middle = first + (end - first) / 2
            if masks[middle].keeps(sublayer) { first = middle + 1 } else { end = middle }
        }
        return places.lowerBound..<first
    }

    /// The last sublayer before which all of some masks agree; nil for one mask alone.
    func lastShared(_ places: Range<Int>) -> Int? {
        branches[places.dropLast()].min()
    }

    /// Branch states that the masks of a prefix from `end` on start from, when those before `end` are walked.
    func branchStates(of places: Range<Int>, from end: Int) -> Int {
        var count = 0
        var at = places.contains(end) && end > places.lowerBound ? end - 1 : -1
        while at >= 0, at < places.upperBound - 1 {
            count += 1
            at = lessAfter[at]
        }
        return count
    }

    /// Branch states that the masks of a prefix before `start` start from, when those from `start` on are walked.
    func branchStates(of places: Range<Int>, before start: Int) -> Int {
        var count = 0
        var at = places.contains(start) && start > places.lowerBound ? start - 1 : -1
        while at >= places.lowerBound {
            count += 1
            at = lessBefore[at]
        }
        return count
    }
}
