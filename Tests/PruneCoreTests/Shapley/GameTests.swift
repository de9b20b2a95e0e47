// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

#if canImport(Glibc)
    import Glibc
#endif

@Suite struct GameTests {
    /// A game with a gate (player 0), saturation, an interaction, and something random.
    static func worth(_ coalition: Coalition, seed: UInt64 = 1) -> Double {
        var random = RandomSource(seed: seed, stream: UInt64(coalition.bits))
        let evidence = coalition.members.reduce(-3.0) { $0 + 0.4 + 0.1 * Double($1) } + (coalition.contains(0) ? 2 : 0)
        let pair = coalition.contains(1) && coalition.contains(2) ? 0.3 : 0
        return 5 / (1 + exp(-evidence)) + pair + 0.05 * random.unit()
    }

    static func exact(_ players: Int) -> WorthTable {
        WorthTable(playerCount: players, worths: (0..<1 << players).map { worth(Coalition(bits: $0, of: players)) })
    }

    static func play(_ game: inout Game, batch: Int = 16, upTo most: Int = .max) throws {
        while game.toldCount < most {
            let coalitions = game.ask(batch)
            if coalitions.isEmpty { return }
            try game.tell(coalitions, coalitions.map { worth(Coalition(bytes: $0[...])) })
        }
    }

    static let shapleyEstimators: [EstimatorKind] = [
        .exact, .permutation, .antithetic, .truncated, .stratified, .kernelShap, .surrogate,
    ]

    @Test func exactValuesOfAKnownGame() {
        // Glove game: player 0 has a left glove, 1 and 2 right ones; a pair is worth 1.
        let gloves = WorthTable(playerCount: 3, worths: (0..<8).map { $0 & 1 == 1 && $0 > 1 ? 1 : 0 })
        for (value, wanted) in zip(gloves.shapley, [2.0 / 3, 1.0 / 6, 1.0 / 6]) { #expect(abs(value - wanted) < 1e-15) }
        for (value, wanted) in zip(gloves.banzhaf(keepProbability: 0.5), [0.75, 0.25, 0.25]) {
            #expect(abs(value - wanted) < 1e-15)
        }
        // I_12: T = {} gives 0, T = {0} gives -1, each with weight 1/2.
        #expect(abs(gloves.interactions[1 * 3 + 2] + 0.5) < 1e-15)
        #expect(abs(gloves.interactions[0 * 3 + 1] - 0.5) < 1e-15)
    }

    @Test(arguments: shapleyEstimators)
    func estimatorsComeNearTheExactValues(_ kind: EstimatorKind) throws {
        let exact = Self.exact(8).shapley
        var game = Game(try GameOptions(players: 8, estimator: kind, seed: 3, budget: kind == .exact ? nil : 160))
        try Self.play(&game)
        let isDone = game.isDone
        #expect(isDone)
        let estimate = try game.estimate()
        let scale = exact.reduce(0) { $0 + $1 * $1 }
        let error = zip(exact, estimate.values).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) } / scale
        let bounds: [EstimatorKind: Double] = [
            .exact: 1e-24, .permutation: 5e-2, .antithetic: 1e-2, .truncated: 5e-2, .stratified: 0.2, .kernelShap: 5e-3,
            .surrogate: 1e-4,
        ]
        #expect(error <= bounds[kind] ?? 0, "\(kind): \(error)")
        for (player, value) in estimate.values.enumerated() {
            #expect(abs(value - exact[player]) <= 6 * estimate.standardErrors[player] + 1e-9)
        }
    }

    @Test(arguments: shapleyEstimators)
    func allCoalitionsKnownIsExactForThoseThatReuse(_ kind: EstimatorKind) throws {
        guard [.stratified, .kernelShap, .surrogate].contains(kind) else { return }
        var game = Game(try GameOptions(players: 5, estimator: kind, seed: 1, budget: 1000))
        try Self.play(&game)
        let isDone = game.isDone
        let estimate = try game.estimate()
        #expect(game.toldCount == 32 && isDone)
        for (a, b) in zip(estimate.values, Self.exact(5).shapley) { #expect(abs(a - b) < 1e-12) }
        #expect(estimate.standardErrors.allSatisfy { $0 == 0 })
    }

    @Test(arguments: shapleyEstimators + [.banzhaf, .leaveOneOut, .randomSubnetworks, .pairDifferences])
    func theOrderOfTellingDoesNotMatter(_ kind: EstimatorKind) throws {
        let options = try GameOptions(players: 7, estimator: kind, seed: 5, budget: 90)
        guard kind != .exact, kind != .truncated else { return }
        var straight = Game(options)
        var shuffled = Game(options)
        try Self.play(&straight, batch: 90)
        let coalitions = shuffled.ask(90)
        var random = RandomSource(seed: 2, stream: 0)
        for index in random.permutation(coalitions.count) {
            try shuffled.tell([coalitions[index]], [Self.worth(Coalition(bytes: coalitions[index][...]))])
        }
        let a = try straight.estimate()
        let b = try shuffled.estimate()
        #expect(a.values == b.values)
        #expect(a.standardErrors == b.standardErrors)
    }

    @Test(arguments: shapleyEstimators + [.banzhaf, .leaveOneOut, .pairDifferences])
    func aSavedGameResumesAsIfItHadNeverStopped(_ kind: EstimatorKind) throws {
        let options = try GameOptions(players: 6, estimator: kind, seed: 8, budget: kind == .exact ? nil : 50)
        var whole = Game(options)
        try Self.play(&whole, batch: 8)
        for stop in [0, 1, 8, 20, 40] {
            var part = Game(options)
            try Self.play(&part, batch: 8, upTo: stop)
            _ = part.ask(3)
            var loaded = try GameDocument.read(GameDocument.write(part))
            try Self.play(&loaded, batch: 8)
            let a = try loaded.estimate().values
            let b = try whole.estimate().values
            let isDone = loaded.isDone
            if kind != .truncated { #expect(a == b) }
            #expect(isDone)
        }
    }

    @Test func damagedBytesAreRefused() throws {
        var game = Game(try GameOptions(players: 5, estimator: .surrogate, seed: 8, budget: 20))
        try Self.play(&game, batch: 7, upTo: 12)
        let bytes = GameDocument.write(game)
        for length in 0..<bytes.count {
            #expect(throws: PruneError.self) { try GameDocument.read(Array(bytes[..<length])) }
        }
        for place in bytes.indices {
            var flipped = bytes
            flipped[place] ^= 1 << UInt8(place % 8)
            #expect(throws: PruneError.self) { try GameDocument.read(flipped) }
        }
    }

    @Test func wrongWorthsAreRefusedAndChangeNothing() throws {
        var game = Game(try GameOptions(players: 4, estimator: .stratified, seed: 1, budget: 12))
        let first = game.ask(4)
        try game.tell([first[0]], [1])
        let before = GameDocument.write(game)
        let faults: [([[UInt8]], [Double])] = [
            ([first[0]], [1]), ([first[1], first[1]], [1, 2]), ([first[1]], [.nan]), ([first[1]], [.infinity]),
            ([first[1], [1, 0, 2, 0]], [1, 1]), ([[1, 0]], [1]), ([first[2], first[0]], [1, 1]),
        ]
        for (coalitions, worths) in faults {
            #expect(throws: PruneError.self) { try game.tell(coalitions, worths) }
            #expect(GameDocument.write(game) == before)
        }
        let unknown = (0..<16).map { Coalition(bits: $0, of: 4).bytes }.first { !first.contains($0) }
        #expect(throws: PruneError.self) { try game.tell([try #require(unknown)], [1]) }
    }

    @Test func aGameStopsWhenItsLeastPlayersAreCertain() throws {
        var loose = Game(try GameOptions(players: 8, estimator: .surrogate, budget: 250, targetError: 0.1))
        try Self.play(&loose, batch: 8)
        let isDone = loose.isDone
        let error = try loose.estimate().standardErrors.max() ?? 1
        #expect(isDone && loose.toldCount < 250 && error <= 0.1)
        var certain = Game(
            try GameOptions(players: 8, estimator: .surrogate, budget: 250, leastCount: 1, certainty: 0.9))
        try Self.play(&certain, batch: 8)
        let isSure = certain.isDone
        #expect(isSure && certain.toldCount < 250)
        let exact = Self.exact(8).shapley
        let values = try certain.estimate().values
        #expect(values.indices.min { values[$0] < values[$1] } == exact.indices.min { exact[$0] < exact[$1] })
    }

    @Test func paperModeIsAffineInLeaveOneOut() throws {
        var paper = Game(try GameOptions(players: 6, estimator: .randomSubnetworks, budget: 6, subnetworkSize: 5))
        try Self.play(&paper)
        var single = Game(try GameOptions(players: 6, estimator: .leaveOneOut))
        try Self.play(&single)
        let damage = try single.estimate().values
        let total = damage.reduce(0, +)
        for (value, own) in zip(try paper.estimate().values, damage) {
            #expect(abs(value - (6.0 / 5 * own - total / 5)) < 1e-12)
        }
        var short = Game(try GameOptions(players: 6, estimator: .randomSubnetworks, budget: 3, subnetworkSize: 5))
        try Self.play(&short)
        #expect(throws: PruneError.self) { try short.estimate() }
    }

    @Test func bigGamesDoNotTrap() throws {
        for players in [1, 2, 3, 65] {
            for kind in Self.shapleyEstimators + [.banzhaf, .leaveOneOut, .randomSubnetworks]
            where kind != .exact || players < 10 {
                var game = Game(try GameOptions(players: players, estimator: kind, seed: 1, budget: 3 * players + 8))
                var random = RandomSource(seed: 4, stream: 0)
                for _ in 0..<200 {
                    let coalitions = game.ask(50)
                    if coalitions.isEmpty { break }
                    try game.tell(coalitions, coalitions.map { _ in random.unit() })
                }
                _ = try? game.estimate()
                _ = game.state
            }
        }
    }
}

@Suite struct SurrogatePartsTests {
    @Test func saturatingModelFindsItself() {
        var model = SaturatingModel(fitting: [Coalition(bits: 3, of: 6)], [1])
        model.strengths = [2, 0.5, 0.3, 0.7, 0.1, 0.4]
        (model.offset, model.low, model.height, model.shape) = (-2, -7, 5, 1.5)
        let coalitions = (0..<64).map { Coalition(bits: $0, of: 6) }
        let fitted = SaturatingModel(
            fitting: Array(coalitions.filter { $0.bits % 2 == 1 || $0.bits < 40 }),
            coalitions
                .filter { $0.bits % 2 == 1 || $0.bits < 40 }.map { model($0) })
        for coalition in coalitions { #expect(abs(fitted(coalition) - model(coalition)) < 2e-2) }
    }

    @Test func processShapleyEqualsTheTable() throws {
        var random = RandomSource(seed: 1, stream: 2)
        let coalitions = (0..<20).map { _ in Coalition(bits: random.index(below: 64), of: 6) }
        let process = try #require(
            HammingProcess(
                Array(Set(coalitions)), Set(coalitions).map { _ in random.unit() },
                likeness: [0.1, 0.9, 0.8, 0.5, 0.95, 0.7], noise: 1e-3, wantsError: true))
        let table = WorthTable(playerCount: 6, worths: (0..<64).map { process(Coalition(bits: $0, of: 6)) })
        for (a, b) in zip(process.shapley(), table.shapley) { #expect(abs(a - b) < 1e-10) }
    }

    @Test(arguments: [0.2, 1.0, 3.0])
    func shapleyOfAnAdditiveFunctionEqualsTheTable(_ scale: Double) {
        var model = SaturatingModel(fitting: [Coalition(bits: 3, of: 13)], [1])
        model.strengths = (0..<13).map { scale * (0.1 * Double($0) - 0.2) }
        model.strengths[4] = 8
        (model.offset, model.low, model.height, model.shape) = (-6 * scale, -7, 5, 1.7)
        let worths = (0..<1 << 13).map { model(Coalition(bits: $0, of: 13)) }
        let exact = WorthTable(playerCount: 13, worths: worths).shapley
        for (a, b) in zip(model.shapley(), exact) { #expect(abs(a - b) < 2e-6) }
    }

    @Test func quadratureIntegratesPolynomials() {
        for count in 1...12 {
            for degree in 0..<2 * count {
                let sum = gaussLegendre(count).reduce(0.0) { $0 + $1.weight * pow($1.node, Double(degree)) }
                #expect(abs(sum - 1 / Double(degree + 1)) < 1e-13)
            }
        }
    }

    @Test func normalQuantilesAreThoseOfTables() {
        #expect(abs(normalQuantile(0.975) - 1.959963985) < 1e-8)
        #expect(abs(normalQuantile(1e-9) + 5.997807015) < 1e-6)
        #expect(abs(studentScale(freedom: 9) - 2.262 / 1.96) < 1e-3)
        #expect(abs(studentScale(freedom: 3) - 3.182 / 1.96) < 3e-2)
    }
}
