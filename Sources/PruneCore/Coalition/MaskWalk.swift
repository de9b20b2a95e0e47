// SPDX-License-Identifier: Apache-2.0
/// Walks a mask tree over some batches, sublayer by sublayer: all states that stand before a sublayer go through it
/// together, so that its weights are read once for them.
///
/// What does not fit in memory is walked in several sweeps, each over masks that stand side by side in the tree. The
/// states that a later sweep starts from are held; where they do not fit either, the shallowest are released and made
/// again.
struct MaskWalk {
    let model: any Model
    let tree: MaskTree
    let batches: [TokenBatch]
    let limits: WalkLimits
    /// Whether the first place has to be visited first.
    let startsAtFront: Bool
    let meter: ProgressMeter
    /// Told some places of `tree.masks` with their states after the last sublayer, in order of place and then batch;
    /// every place comes once per batch. The states are released afterwards.
    let visit: (_ ends: [MaskEnd]) throws(PruneError) -> Void

    /// Sublayers applied to a batch so far.
    private(set) var sublayersComputed = 0
    /// How often a sublayer's weights were wanted: once per sublayer and sweep.
    private(set) var passes = 0

    private var waiting: WaitingPrefixes
    /// The masks of the sweep under way.
    private var chosen = 0..<0
    /// Prefixes of the sweep, in the tree's order. The states of the first, one per batch, come first in `states`, then
    /// those of the second, and so on.
    private var frontier: [(places: Range<Int>, depth: Int)] = []
    private var states: [any HiddenState] = []

    init(
        _ model: any Model, _ tree: MaskTree, _ batches: [TokenBatch], _ limits: WalkLimits,
        startsAtFront: Bool = false, meter: ProgressMeter,
        visit: @escaping (_ ends: [MaskEnd]) throws(PruneError) -> Void
    ) {
        self.model = model
        self.tree = tree
        self.batches = batches
        self.limits = limits
        self.startsAtFront = startsAtFront
        self.meter = meter
        self.visit = visit
        waiting = WaitingPrefixes(tree)
    }

    /// Errors: those of the model, of `visit`, and `.cancelled`.
    mutating func run() throws(PruneError) {
        var atFront = startsAtFront
        while !waiting.prefixes.isEmpty {
            chosen = waiting.next(
                atMost: limits.width, atFront: atFront, room: limits.room, fallback: limits.fallback)
            atFront = false
            try enter(waiting.take(chosen))
            let first = frontier.map(\.depth).min() ?? 0
            for sublayer in first..<max(first, model.shape.sublayerCount) { try pass(sublayer) }
            try visitEnds()
        }
    }

    /// Sets out from some prefixes; from the tokens, where nothing is left of one.
    private mutating func enter(_ prefixes: [Prefix]) throws(PruneError) {
        frontier = []
        for prefix in prefixes {
            frontier.append((prefix.places, prefix.depth))
            if prefix.states.isEmpty {
                for batch in batches { states.append(try model.start(batch)) }
            } else {
                states += prefix.states
            }
        }
        waiting.letGo(room: limits.room - chosen.count)
    }

    /// Goes from before a sublayer to after it. Prefixes that stand deeper wait until the others have come to them.
    private mutating func pass(_ sublayer: Int) throws(PruneError) {
        var next: [(places: Range<Int>, depth: Int)] = []
        var nextStates: [any HiddenState] = []
        var moving: [Int] = []
        next.reserveCapacity(frontier.count)
        nextStates.reserveCapacity(states.count)
        for (index, prefix) in frontier.enumerated() {
            let own = states[index * batches.count..<(index + 1) * batches.count]
            guard prefix.depth <= sublayer else {
                next.append(prefix)
                nextStates += own
                continue
            }
            let kept = tree.keeping(sublayer, of: prefix.places)
            let removed = kept.upperBound..<prefix.places.upperBound
            if kept.overlaps(chosen) {
                moving += nextStates.count..<nextStates.count + own.count
                next.append((kept, sublayer + 1))
                nextStates += own
            } else if !kept.isEmpty {
                wait(Prefix(places: kept, depth: sublayer, states: Array(own)))
            }
            if removed.overlaps(chosen) {
                next.append((removed, sublayer + 1))
                nextStates += own
            } else if !removed.isEmpty {
                wait(Prefix(places: removed, depth: sublayer + 1, states: Array(own)))
            }
        }
        frontier = next
        // The states before the sublayer go as it is applied: `nextStates` alone holds them now.
        states = []
        swap(&states, &nextStates)
        guard !moving.isEmpty else { return }
        passes += 1
        var moved = 0
        try model.apply(
            sublayer, to: &states, at: moving, rowsPerCall: limits.rowsPerCall
        ) { count throws(PruneError) in
            moved += count
            try meter.advance(by: count)
        }
        sublayersComputed += moved
    }

    private mutating func wait(_ prefix: Prefix) {
        waiting.add(prefix, room: limits.room - chosen.count)
    }

    private mutating func visitEnds() throws(PruneError) {
        var rest = Array(states.reversed())
        states = []
        let rows = rest.indices.map { batches[$0 % batches.count].rowCount }
        for group in consecutiveGroups(ofRows: rows, atMost: limits.rowsPerCall) {
            var ends: [MaskEnd] = []
            for index in group {
                guard let state = rest.popLast() else { continue }
                let place = frontier[index / batches.count].places.lowerBound
                ends.append(MaskEnd(place: place, batch: index % batches.count, state: state))
            }
            try visit(ends)
        }
        frontier = []
    }
}

/// A mask's state of a batch after the last sublayer.
struct MaskEnd {
    /// In the tree's order.
    let place: Int
    /// Among the batches walked.
    let batch: Int
    let state: any HiddenState
}
