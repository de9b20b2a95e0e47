// SPDX-License-Identifier: Apache-2.0
/// Shapley values of a model fitted to the game, and of what it leaves: the default.
///
/// 1. A saturating function of one evidence that adds up over the players (`SaturatingModel`).
/// 2. A Gaussian process on what it leaves (`HammingProcess`), which takes players that matter for what they are.
/// 3. The means by size and presence of what both leave (`Strata`).
/// 4. The efficiency gap, spread evenly.
///
/// The Shapley values of the first two are known, and those of the third correct their bias; with all coalitions known the
/// estimate is exact. Beyond `mostPlayers` the third does it alone: fitting takes time with the cube of their number.
///
/// Coalitions: the full and the empty one, all but each player, each player alone, and then random ones,
/// larger sizes more often, since those hold what tells players apart and what pruning is about.
struct SurrogateEstimator: Estimator {
    let playerCount: Int
    let seed: UInt64
    var drawCount: Int? { nil }

    /// Players of a fitted model at most: twice what the deepest models have in sublayers.
    static let mostPlayers = 512

    private var borderDraws: Int { 2 + 2 * playerCount }

    func wanted(_ draw: Int, _ known: KnownWorths) -> [Coalition] {
        let n = playerCount
        let all = Coalition.all(n)
        switch draw {
        case 0: return [all]
        case 1: return [Coalition(players: n)]
        case ..<(2 + n): return [all.removing(draw - 2)]
        case ..<borderDraws: return [Coalition([draw - 2 - n], of: n)]
        default:
            guard n > 3 else { return [Coalition(bits: (draw - borderDraws) % (1 << n), of: n)] }
            let (family, member) = (draw - borderDraws).quotientAndRemainder(dividingBy: Self.familySize)
            let first = randomCoalition(family * Self.familySize)
            return [member == 0 ? first : randomCoalition(draw - borderDraws).taking(first, below: n / 3)]
        }
    }

    /// Random coalitions come in families that agree on the first third of the players, where masks of a model share what
    /// is computed: the members after the first cost that much less, and tell nearly as much.
    static let familySize = 3

    /// A coalition of size k = 2 ... n - 2 with probability proportional to k + n / 2: large sizes twice as often as small
    /// ones, which matter where worths are not capped.
    private func randomCoalition(_ number: Int) -> Coalition {
        let n = playerCount
        var random = random(seed, number)
        var rest = random.index(below: (2...n - 2).reduce(0) { $0 + $1 + n / 2 })
        var size = 2
        while rest >= size + n / 2 {
            rest -= size + n / 2
            size += 1
        }
        return Coalition(random.permutation(n).prefix(size), of: n)
    }

    private func isBorder(_ coalition: Coalition) -> Bool {
        let size = coalition.size
        return size < 2 || size > playerCount - 2
    }

    func estimate(_ known: KnownWorths, draws: Int) throws(PruneError) -> Estimate {
        if let exact = exactIfWhole(known) { return exact }
        _ = try known.ends()
        guard known.count >= playerCount + 2 else {
            throw tooFew("\(known.count) of at least \(playerCount + 2) coalitions were told")
        }
        let whole = Surrogate(known, like: nil)
        let groups = JackknifeGroups(known, unit: Self.familySize, stays: isBorder)
        let errors = groups.standardErrors(known, players: playerCount) { Surrogate($0, like: whole).shapley(of: $0) }
        return Estimate(values: whole.shapley(of: known), standardErrors: errors)
    }
}

/// A fitted model of a game, and the process on what it leaves.
private struct Surrogate {
    /// nil for more players than are fitted.
    let model: SaturatingModel?
    let process: HammingProcess?

    /// Worths from which the process' parameters are chosen at most, and those that it is fitted to: its cost grows with
    /// their cube. Further worths still correct what it leaves.
    private static let mostForChoice = 400
    private static let mostForProcess = 1024

    /// Multiplications of one step of the model's fit at most, which has all parameters squared for each worth.
    private static let mostForStep = 1 << 30

    /// - Parameter like: a surrogate of nearly the same worths, from which to start and take the process' parameters.
    init(_ known: KnownWorths, like: Surrogate?) {
        // The empty coalition's worth is one number that enters every value alike, and often far from all others: the strata
        // bring it in exactly, so the models need not bend to it.
        let used = known.filtered { known.coalitions[$0].size > 0 }
        guard known.playerCount <= SurrogateEstimator.mostPlayers else {
            (model, process) = (nil, nil)
            return
        }
        let parameters = known.playerCount + 4
        let rows = min(used.count, Self.mostForStep / (parameters * parameters))
        let model = SaturatingModel(
            fitting: Array(used.coalitions.prefix(rows)), Array(used.worths.prefix(rows)), from: like?.model)
        self.model = model
        let coalitions = Array(used.coalitions.prefix(Self.mostForProcess))
        let left = zip(coalitions, used.worths).map { $1 - model($0) }
        let most = Self.mostForChoice
        let chosen =
            like.map(\.process)
            ?? HammingProcess.best(
                Array(coalitions.prefix(most)), Array(left.prefix(most)), strengths: model.strengths.map(abs))
        if like == nil, left.count <= most {
            process = chosen
        } else {
            process = chosen.flatMap {
                HammingProcess(coalitions, left, likeness: $0.likeness, noise: $0.noise, wantsError: false)
            }
        }
    }

    func shapley(of known: KnownWorths) -> [Double] {
        let residuals = zip(known.coalitions, known.worths).map { $1 - (model?($0) ?? 0) - (process?($0) ?? 0) }
        let corrections = Strata(known.playerCount, known.coalitions, residuals).shapleyOfResiduals
        var values = corrections
        if let model { values = zip(model.shapley(), values).map(+) }
        if let process { values = zip(values, process.shapley()).map(+) }
        if let ends = try? known.ends() {
            let gap = (values.reduce(0, +) - (ends.all - ends.none)) / Double(known.playerCount)
            values = values.map { $0 - gap }
        }
        return values
    }
}
