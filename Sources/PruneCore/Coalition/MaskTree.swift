/// Some masks as a prefix tree over sublayers: masks that agree up to a sublayer share the hidden state there.
///
/// Walked depth first. A removed sublayer costs nothing, a kept one is applied once for all masks below it, and a state
/// is held only while a branch that starts from it is still to come. Leave-one-out over n sublayers thus takes
/// n + n (n - 1) / 2 sublayers instead of n + n (n - 1).
struct MaskTree {
    /// The distinct masks, in the order of the walk: where two differ first, the one that keeps comes first. So the
    /// mask that keeps most of all, if it is there, is the first to be reached.
    let masks: [KeepMask]
    /// For each mask given, its place in `masks`.
    let places: [Int]

    init(_ given: [KeepMask]) {
        let sorted = Set(given).sorted { a, b in
            guard let first = zip(a.keeps, b.keeps).enumerated().first(where: { $1.0 != $1.1 }) else { return false }
            return first.element.0
        }
        let placeOf = Dictionary(uniqueKeysWithValues: sorted.enumerated().map { ($1, $0) })
        masks = sorted
        places = given.map { placeOf[$0] ?? 0 }
    }

    /// Sublayers that are applied to each batch if every branch state can be held.
    var sublayers: Int { Self.count(masks[...], from: 0) }

    private static func count(_ masks: ArraySlice<KeepMask>, from sublayer: Int) -> Int {
        guard let first = masks.first else { return 0 }
        var total = 0
        var rest = masks
        for place in sublayer..<max(first.keeps.count, sublayer) {
            let kept = rest.prefix { $0.keeps(place) }
            if kept.isEmpty { continue }
            if kept.count == rest.count {
                total += 1
            } else {
                total += 1 + count(kept, from: place + 1)
                rest = rest.dropFirst(kept.count)
            }
        }
        return total
    }
}

/// Walks a mask tree over one batch.
///
/// Branch states beyond `heldStates` are let go, the shallowest first, since they are needed last and cost least to make
/// again; a walk that comes back to one recomputes it from the nearest state above that is still held.
struct MaskTreeWalk {
    let model: any Model
    let batch: TokenBatch
    let masks: [KeepMask]
    /// Branch states held at most. 0 = every branch starts from the tokens.
    let heldStates: Int
    let meter: ProgressMeter
    /// Told each mask's place and its hidden state after the last sublayer.
    let visit: (_ place: Int, _ state: any HiddenState) throws(PruneError) -> Void

    /// Sublayers applied so far.
    private(set) var sublayersComputed = 0
    private var branches: [Branch] = []
    /// The state that the walk stands at. Only here and in `branches`, so that letting go of one frees it.
    private var current: (any HiddenState)?

    /// A state from which a branch is still to come, and the sublayers that lead to it from the branch above.
    private struct Branch {
        var state: (any HiddenState)?
        let path: [Int]
    }

    init(
        _ model: any Model, _ batch: TokenBatch, _ masks: [KeepMask], heldStates: Int, meter: ProgressMeter,
        visit: @escaping (_ place: Int, _ state: any HiddenState) throws(PruneError) -> Void
    ) {
        self.model = model
        self.batch = batch
        self.masks = masks
        self.heldStates = heldStates
        self.meter = meter
        self.visit = visit
    }

    /// Errors: those of the model, of `visit`, and `.cancelled`.
    mutating func run() throws(PruneError) {
        guard !masks.isEmpty else { return }
        current = try model.start(batch)
        try descend(from: 0, path: [], masks.indices)
        current = nil
    }

    /// Goes down from `current`, the state before `sublayer`, through the masks at `places`, which agree above it.
    ///
    /// - Parameter path: the sublayers that were applied since the branch above.
    private mutating func descend(
        from sublayer: Int, path: [Int], _ places: Range<Int>
    ) throws(PruneError) {
        var path = path
        var places = places
        for place in sublayer..<model.shape.sublayerCount {
            let firstRemoved = places.first { !masks[$0].keeps(place) } ?? places.upperBound
            if firstRemoved == places.lowerBound { continue }
            let branches = firstRemoved < places.upperBound
            if branches { hold(Branch(state: current, path: path)) }
            current = try apply(place, to: current)
            guard branches else {
                path.append(place)
                continue
            }
            try descend(from: place + 1, path: [place], places.lowerBound..<firstRemoved)
            current = try takeBranch()
            places = firstRemoved..<places.upperBound
        }
        if let current { try visit(places.lowerBound, current) }
    }

    private mutating func apply(
        _ sublayer: Int, to state: (any HiddenState)?
    ) throws(PruneError) -> any HiddenState {
        guard let state, let after = try model.apply(sublayer, to: [state]).first else {
            throw PruneError(.internal, "the model returned no hidden state for \(sublayerName(sublayer))")
        }
        sublayersComputed += 1
        try meter.advance()
        return after
    }

    /// Holds a branch state, and lets go of the shallowest ones until no more are held than allowed.
    private mutating func hold(_ branch: Branch) {
        branches.append(branch)
        var held = branches.count { $0.state != nil }
        for index in branches.indices where held > heldStates && branches[index].state != nil {
            branches[index].state = nil
            held -= 1
        }
    }

    /// Ends the deepest branch and returns its state, made again if it was let go.
    private mutating func takeBranch() throws(PruneError) -> any HiddenState {
        let lastHeld = branches.lastIndex { $0.state != nil }
        var state: any HiddenState
        if let lastHeld, let held = branches[lastHeld].state { state = held } else { state = try model.start(batch) }
        for branch in branches[(lastHeld.map { $0 + 1 } ?? 0)...] {
            for sublayer in branch.path { state = try apply(sublayer, to: state) }
        }
        branches.removeLast()
        return state
    }
}
