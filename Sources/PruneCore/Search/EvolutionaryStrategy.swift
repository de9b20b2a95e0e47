// SPDX-License-Identifier: Apache-2.0
/// One parent and its offspring, after EvoPress (arXiv 2410.14649): a child exchanges a few removed units for kept ones, and
/// the best of parent and offspring is the next parent.
///
/// Offspring are evaluated on ever more of the data, and only the best reach the next share. Beyond EvoPress, the parent comes
/// from what every unit does alone; most offspring are those that a model of all damages told so far expects most of, the
/// others are random exchanges; and nothing is asked for twice.
struct EvolutionaryStrategy: SearchStrategy {
    private let space: SearchSpace
    private let seed: UInt64
    private let offspring: Int
    /// nil = to be chosen when it is known how many units go.
    private let givenGenerations: Int?
    private let patience: Int?
    /// Ascending, the last 1.
    private let shares: [Double]

    private var parent: Removal
    private(set) var path: [SearchStep]
    private var phase = Phase.start
    private var generation = 0
    private var unimproved = 0
    private var chosenRemoval: Removal

    private enum Phase {
        case start
        /// Each unit alone and some random masks are to be told on the least share.
        case scouting
        /// They are told.
        case scouted
        /// Offspring of this generation that are told on the least share; there are to be more, in wave `wave`.
        case breeding([Removal], wave: Int)
        /// Candidates of this generation that are told on share `stage`.
        case selecting([Removal], stage: Int)
        case done
    }

    /// Offspring of a wave at most. A generation with more is bred in several, those after the first at random: so what
    /// is drawn between two answers is bounded, whatever number of offspring was asked for.
    private var waveSize: Int { min(offspring, max(32, min(1024, (1 << 17) / max(1, space.unitCount)))) }

    /// Draws in a row that bring nothing new, after which it is taken that there is nothing.
    private static let mostFruitless = 512

    /// Shares of the data that a generation is evaluated on; the last is all.
    private static let usualShares = [1.0 / 16, 1.0 / 4, 1]

    init(_ space: SearchSpace, _ options: SearchOptions, takesShares: Bool) {
        self.space = space
        seed = options.seed
        offspring = options.offspring ?? SearchOptions.usualOffspring
        givenGenerations = options.generations
        patience = options.patience
        shares = takesShares ? Self.usualShares : [1]
        parent = space.nothing
        chosenRemoval = space.nothing
        path = [SearchStep(removal: space.nothing, unit: nil, told: 0)]
    }

    var chosen: Removal { chosenRemoval }

    /// Generations at most: removed * kept / 1.5, as EvoPress does.
    private var generations: Int {
        givenGenerations ?? max(1, parent.count * (space.removable.count - parent.count) * 2 / 3)
    }

    mutating func next(_ known: KnownDamages, recorded: SearchWave?) -> SearchWave? {
        switch phase {
        case .start:
            phase = space.isMet(space.nothing) ? .done : .scouting
            return SearchWave(removals: [space.nothing])
        case .scouting:
            phase = .scouted
            return SearchWave(share: shares[0], removals: scouts)
        case .scouted:
            return begin(known)
        case .breeding(let children, let wave):
            return breed(children, wave: wave, known, recorded)
        case .selecting(let removals, let stage):
            return select(removals, stage: stage, known, recorded)
        case .done: return nil
        }
    }

    /// Each unit alone, and random masks that meet the budget.
    private var scouts: [Removal] {
        let alone = space.removable.map { space.removing($0, from: space.nothing) }
        var seen = Set(alone)
        var drawn: [Removal] = []
        var fruitless = 0
        for child in 0..<max(1, waveSize / 4) where fruitless < Self.mostFruitless {
            var random = self.random(child)
            fruitless += 1
            guard let mask = space.random(&random), seen.insert(mask).inserted else { continue }
            drawn.append(mask)
            fruitless = 0
        }
        return [space.nothing] + alone + drawn
    }

    /// The first candidates for a parent: the random masks, and the one without the units that do least damage alone.
    private mutating func begin(_ known: KnownDamages) -> SearchWave? {
        let alone = space.removable.sorted { a, b in
            let damages = [a, b].map { known[space.removing($0, from: space.nothing), shares[0]] ?? .infinity }
            return (damages[0], a) < (damages[1], b)
        }
        let additive = space.removal(inOrder: alone)
        let masks = scouts.filter(space.isMet) + (additive.map { [$0] } ?? [])
        guard !masks.isEmpty else {
            phase = .done
            return nil
        }
        phase = .selecting(masks, stage: 0)
        return SearchWave(share: shares[0], removals: additive.map { [$0] } ?? [])
    }

    /// Leaves the best of the candidates for the next share; after the last, the best of all is the parent.
    private mutating func select(
        _ removals: [Removal], stage: Int, _ known: KnownDamages, _ recorded: SearchWave?
    ) -> SearchWave? {
        guard stage + 1 == shares.count else {
            let survivors = stage + 2 == shares.count ? max(1, offspring / 16) : max(2, offspring / 8)
            let ranked =
                removals
                .map { ($0, known[$0, shares[stage]] ?? .infinity) }
                .enumerated().sorted { ($0.element.1, $0.offset) < ($1.element.1, $1.offset) }
                .prefix(survivors).map(\.element.0)
            phase = .selecting(ranked, stage: stage + 1)
            return SearchWave(share: shares[stage + 1], removals: ranked)
        }
        take(removals, known)
        guard generation < generations, unimproved < patience ?? .max else {
            phase = .done
            return nil
        }
        generation += 1
        let children = recorded.map(\.proposals) ?? children(known)
        guard !children.isEmpty else {
            phase = .done
            return nil
        }
        phase = children.count < offspring ? .breeding(children, wave: 1) : .selecting(children, stage: 0)
        return SearchWave(share: shares[0], removals: children, isProposed: true)
    }

    /// More offspring of the generation, if there are to be more and there are some; else what comes after them.
    ///
    /// Drawn at random alone, so that a search that is gone through again draws the same.
    private mutating func breed(
        _ children: [Removal], wave: Int, _ known: KnownDamages, _ recorded: SearchWave?
    ) -> SearchWave? {
        // A first wave that came out short says that there are no more.
        let isFull = children.count == wave * waveSize
        let more = isFull ? strangers(to: [], count: min(waveSize, offspring - children.count), wave: wave, known) : []
        let all = children + more
        guard !more.isEmpty else { return select(all, stage: 0, known, recorded) }
        phase = all.count < offspring ? .breeding(all, wave: wave + 1) : .selecting(all, stage: 0)
        return SearchWave(share: shares[0], removals: more)
    }

    /// The best of the parent and those that are told on all data becomes the parent.
    private mutating func take(_ removals: [Removal], _ known: KnownDamages) {
        guard let best = known.least(removals) else { return }
        let isFirst = parent == space.nothing
        let isBetter = isFirst || best.damage < known[parent] ?? .infinity
        if isBetter { parent = best.removal }
        unimproved = isBetter ? 0 : unimproved + 1
        path.append(SearchStep(removal: parent, unit: nil, told: known.count))
        let most = space.budget.mostDamage(start: known[space.nothing] ?? .infinity)
        if let damage = known[parent], damage <= most { chosenRemoval = parent }
    }

    /// New offspring of the parent: three of four as the model proposes, the rest at random. Fewer where there are no more.
    private func children(_ known: KnownDamages) -> [Removal] {
        let proposed = space.proposals(
            around: parent, known.damages(on: shares[0]), count: max(1, waveSize - waveSize / 4))
        return proposed + strangers(to: proposed, count: waveSize - proposed.count, wave: 0, known)
    }

    /// Up to `count` random exchanges of the parent that are neither known nor among `others`.
    private func strangers(to others: [Removal], count: Int, wave: Int, _ known: KnownDamages) -> [Removal] {
        var seen = Set(others)
        var found: [Removal] = []
        var random = self.random(wave << 32 + offspring + generation)
        var fruitless = 0
        while found.count < count, fruitless < Self.mostFruitless {
            fruitless += 1
            guard let child = space.exchanged(parent, &random), known[child, shares[0]] == nil,
                seen.insert(child).inserted
            else { continue }
            found.append(child)
            fruitless = 0
        }
        return found
    }

    private func random(_ stream: Int) -> RandomSource { RandomSource(seed: seed, stream: UInt64(stream)) }
}

extension SearchSpace {
    /// Removes units in an order until all bounds hold, and puts back those that they hold without, the first removed last.
    ///
    /// nil if the order does not lead there.
    func removal(inOrder order: [Int]) -> Removal? {
        var removal = nothing
        for unit in order where !isMet(removal) && mayGo(unit, after: removal) {
            removal = removing(unit, from: removal)
        }
        guard isMet(removal) else { return nil }
        return trimmed(removal, order: order.reversed())
    }

    /// Puts units back, in an order, as long as all bounds hold.
    private func trimmed(_ removal: Removal, order: [Int]) -> Removal {
        order.reduce(removal) { removal, unit in
            guard removal.units.contains(unit) else { return removal }
            let without = puttingBack(unit, into: removal)
            return isMet(without) ? without : removal
        }
    }

    /// A removal that meets the budget, any of them.
    func random(_ random: inout RandomSource) -> Removal? {
        removal(inOrder: random.permutation(removable.count).map { removable[$0] })
    }

    /// A removal that differs from `removal` by one to three exchanges, mostly one, and meets the budget; nil if the draw
    /// does not.
    func exchanged(_ removal: Removal, _ random: inout RandomSource) -> Removal? {
        var result = removal
        for _ in 0...min(random.index(below: 3), random.index(below: 3)) {
            let back = result.members
            guard !back.isEmpty else { return nil }
            let unit = back[random.index(below: back.count)]
            let away = removable.filter { !result.units.contains($0) && kind($0) == kind(unit) }
            guard !away.isEmpty else { return nil }
            result = puttingBack(unit, into: removing(away[random.index(below: away.count)], from: result))
        }
        if quotas.isEmpty {
            let order = random.permutation(removable.count).map { removable[$0] }
            for unit in order where !isMet(result) && mayGo(unit, after: result) {
                result = removing(unit, from: result)
            }
            if isMet(result) { result = trimmed(result, order: order) }
        }
        return isMet(result) && result != removal ? result : nil
    }
}
