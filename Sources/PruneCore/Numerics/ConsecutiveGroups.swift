// SPDX-License-Identifier: Apache-2.0
/// Cuts items that follow one another into groups of at most `most` rows; an item with more is a group of its own.
func consecutiveGroups(ofRows rows: [Int], atMost most: Int) -> [Range<Int>] {
    var groups: [Range<Int>] = []
    var first = 0
    var sum = 0
    for (index, own) in rows.enumerated() {
        if index > first, own > most - sum {
            groups.append(first..<index)
            first = index
            sum = 0
        }
        sum += own
    }
    if first < rows.count { groups.append(first..<rows.count) }
    return groups
}
