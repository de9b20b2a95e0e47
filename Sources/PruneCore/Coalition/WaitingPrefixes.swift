// SPDX-License-Identifier: Apache-2.0
/// Masks that share a prefix, and the states from which they continue.
struct Prefix {
    /// Places in the tree's order.
    let places: Range<Int>
    /// The sublayer before which the states stand. The masks agree before it.
    var depth: Int
    /// One per batch that is walked.
    var states: [any HiddenState]
}

/// The masks that a walk did not reach yet: prefixes side by side, in the tree's order, with the states they start
/// from.
///
/// Where memory does not suffice, states are released, the shallowest first, since they cost least to make again.
struct WaitingPrefixes {
    let tree: MaskTree
    /// Neighbours without states are one prefix: what they share is computed again once.
    private(set) var prefixes: [Prefix]

    /// All masks of a tree; none has a state yet.
    init(_ tree: MaskTree) {
        self.tree = tree
        prefixes = tree.masks.isEmpty ? [] : [Prefix(places: tree.masks.indices, depth: 0, states: [])]
    }

    /// Prefixes that have states.
    private var held: Int { prefixes.count { !$0.states.isEmpty } }

    private var places: Range<Int> {
        (prefixes.first?.places.lowerBound ?? 0)..<(prefixes.last?.places.upperBound ?? 0)
    }

    /// The masks to walk next: some from one end.
    ///
    /// - Parameters:
    ///   - most: masks at most.
    ///   - atFront: take them from the front.
    ///   - room: as many as, together with the prefixes that wait meanwhile, have states for `room` prefixes. If not
    ///     even one mask has, `fallback` masks, and states have to be released.
    /// Masks at the end may leave fewer waiting: in leave-one-out those without an early sublayer start from the states
    /// of the full mask, which alone continues.
    func next(atMost most: Int, atFront: Bool, room: Int, fallback: Int) -> Range<Int> {
        let all = places
        if all.count <= min(most, room) { return all }
        for count in stride(from: min(most, room, all.count), to: 0, by: -1) {
            let first = all.lowerBound..<all.lowerBound + count
            if states(waitingFor: first) + count <= room { return first }
            let last = all.upperBound - count..<all.upperBound
            if !atFront, states(waitingFor: last) + count <= room { return last }
        }
        return all.prefix(max(1, fallback))
    }

    /// Whether the first mask can be walked first of all with no state released.
    func canStartAtFront(_ limits: WalkLimits) -> Bool {
        let first = places.prefix(1)
        return states(waitingFor: first) + first.count <= limits.room
    }

    /// Prefixes with states that wait while the masks at `chosen` are walked, which lie at one end.
    private func states(waitingFor chosen: Range<Int>) -> Int {
        prefixes.reduce(0) { sum, prefix in
            let own = prefix.places
            if !own.overlaps(chosen) { return sum + (prefix.states.isEmpty ? 0 : 1) }
            return sum + tree.branchStates(of: own, from: chosen.upperBound)
                + tree.branchStates(of: own, before: chosen.lowerBound)
        }
    }

    /// Takes the prefixes that some masks belong to, whole. Each has states unless none stands above it either: where
    /// its own were released, those of the nearest prefix above that has some.
    mutating func take(_ chosen: Range<Int>) -> [Prefix] {
        let taken = prefixes.filter { $0.places.overlaps(chosen) }.map { prefix in
            guard prefix.states.isEmpty else { return prefix }
            let above = prefixes.filter { !$0.states.isEmpty && isAbove($0, prefix.places) }.max { $0.depth < $1.depth }
            return Prefix(places: prefix.places, depth: above?.depth ?? 0, states: above?.states ?? [])
        }
        prefixes.removeAll { $0.places.overlaps(chosen) }
        return taken
    }

    /// Whether the states of a prefix are also those of other masks, which then agree with it before its depth.
    private func isAbove(_ prefix: Prefix, _ places: Range<Int>) -> Bool {
        let both = min(prefix.places.lowerBound, places.lowerBound)..<max(prefix.places.upperBound, places.upperBound)
        return tree.lastShared(both).map { $0 >= prefix.depth } ?? true
    }

    /// Adds a prefix, and lets states go until at most `room` prefixes have some.
    mutating func add(_ prefix: Prefix, room: Int) {
        let place = prefixes.firstIndex { $0.places.lowerBound > prefix.places.lowerBound } ?? prefixes.count
        prefixes.insert(prefix, at: place)
        letGo(room: room)
    }

    /// Lets states go until at most `room` prefixes have some.
    mutating func letGo(room: Int) {
        for _ in 0..<max(0, held - room) {
            let shallowest = prefixes.indices.filter { !prefixes[$0].states.isEmpty }
                .min { prefixes[$0].depth < prefixes[$1].depth }
            guard let shallowest else { return }
            prefixes[shallowest].states = []
        }
        var merged: [Prefix] = []
        for prefix in prefixes {
            if prefix.states.isEmpty, let last = merged.last, last.states.isEmpty {
                merged[merged.count - 1] = Prefix(
                    places: last.places.lowerBound..<prefix.places.upperBound, depth: 0, states: [])
            } else {
                merged.append(prefix)
            }
        }
        prefixes = merged
    }
}
