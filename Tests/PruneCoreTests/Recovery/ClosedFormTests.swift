// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

/// A model whose sublayers are maps that a reader can solve for: sublayer u adds matrices[u] * h + shifts[u] to the state h.
/// States start as rows of a table.
private final class AffineModel: RowModel {
    let shape: ModelShape
    let table: [[Float]]
    let matrices: [[[Float]]]
    let shifts: [[Float]]
    let gain: [Float]?

    init(table: [[Float]], matrices: [[[Float]]], shifts: [[Float]], gain: [Float]? = nil) {
        shape = HandModel(updates: shifts).shape
        self.table = table
        self.matrices = matrices
        self.shifts = shifts
        self.gain = gain
    }

    func start(_ batch: TokenBatch) throws(PruneError) -> any HiddenState {
        RowState(batch, batch.data.tokens[batch.tokens].map { table[Int($0)] })
    }

    func apply(_ sublayer: Int, to states: [any HiddenState]) throws(PruneError) -> [any HiddenState] {
        states.map { state in
            let own = state as! RowState
            return RowState(
                own.batch,
                own.rows.map { row in
                    row.indices.map { place in
                        row[place] + shifts[sublayer][place]
                            + zip(matrices[sublayer][place], row).reduce(0) { $0 + $1.0 * $1.1 }
                    }
                })
        }
    }

    func logits(ofRow row: [Float]) -> [Double] { row.map(Double.init) }

    func norm(ofSublayer sublayer: Int) -> InputNorm? { gain.map { InputNorm(gain: $0, epsilon: 1e-6) } }
}

@Suite struct ClosedFormTests {
    let width = 6
    /// States to start from: enough that a map of `width` places can be told from them.
    let vocabulary = 20

    /// Random states, and maps of rank 2 in every sublayer.
    private func affine(_ blocks: Int = 2, gain: [Float]? = nil) -> AffineModel {
        var random = RandomSource(seed: 7, stream: 0)
        func values(_ count: Int, _ scale: Double) -> [Float] {
            (0..<count).map { _ in Float((random.unit() - 0.5) * scale) }
        }
        let table = (0..<vocabulary).map { _ in values(width, 4) }
        let matrices = (0..<2 * blocks).map { _ in
            let (left, right) = ((0..<2).map { _ in values(width, 1) }, (0..<2).map { _ in values(width, 1) })
            return (0..<width).map { row in
                (0..<width).map { left[0][row] * right[0][$0] + left[1][row] * right[1][$0] }
            }
        }
        return AffineModel(
            table: table, matrices: matrices, shifts: (0..<2 * blocks).map { _ in values(width, 2) }, gain: gain)
    }

    private func data(_ count: Int, seed: UInt64 = 1) throws -> TokenData {
        var random = RandomSource(seed: seed, stream: 0)
        let lengths = (0..<count).map { _ in 1 + random.index(below: 5) }
        let tokens = (0..<lengths.reduce(0, +)).map { _ in Int32(random.index(below: vocabulary)) }
        return try TokenData(tokens: tokens, lengths: lengths, weights: nil)
    }

    private func options(
        _ kind: AdapterKind, rank: Int? = 2, ridge: Double? = 0, norms: Bool = false,
        stream: RecoveryStream = .fullModel
    ) -> AdapterOptions {
        var options = AdapterOptions()
        options.kind = kind
        options.rank = rank
        options.ridge = ridge
        options.normsInput = norms
        options.stream = stream
        return options
    }

    private func mask(_ removed: [Int], blocks: Int = 2) -> KeepMask {
        removed.reduce(KeepMask(blocks: blocks)) { $0.removing(unit: $1, .sublayer) }
    }

    private func solved(
        _ model: any Model, _ data: TokenData, _ mask: KeepMask, _ options: AdapterOptions
    ) throws -> AdapterSet {
        try closedForm(model, data, heldOut: data, under: mask, options, progress: nil)
    }

    private func last(_ model: any Model, _ data: TokenData) throws -> [Float] {
        let batch = TokenBatch(data, 0..<data.sequenceCount)
        let end = try model.run(try model.start(batch), under: KeepMask(blocks: model.shape.blockCount))
        return try model.read(end) { values throws(PruneError) in (0..<values.count).map { values[$0] } }
    }

    /// The dense matrix of an adapter, row-major.
    private func matrix(_ adapter: Adapter) -> [Float] {
        if adapter.kind == .linear { return Array(adapter.parameters[adapter.matrixRange]) }
        let (down, up) = (adapter.parameters[adapter.downRange], adapter.parameters[adapter.upRange])
        return (0..<adapter.width * adapter.width).map { place in
            let (row, column) = place.quotientAndRemainder(dividingBy: adapter.width)
            return (0..<adapter.rank).reduce(0) {
                $0 + up[up.startIndex + row * adapter.rank + $1] * down[down.startIndex + $1 * adapter.width + column]
            }
        }
    }

    private func bias(_ adapter: Adapter) -> [Float] { Array(adapter.parameters[adapter.biasRange]) }

    private func error(_ body: () throws -> Void) -> PruneError? {
        do { try body() } catch { return error as? PruneError }
        return nil
    }

    @Test func aBiasIsTheMeanUpdate() throws {
        let model = HandModel(updates: [[3, 0, 0, 0], [0, 4, 0, 0], [0, 0, 0, 1], [0, 0, 2, -1]])
        let text = try TokenData(tokens: [0, 1, 3], lengths: [2, 1], weights: nil)
        for stream in [RecoveryStream.fullModel, .recovered] {
            let set = try solved(model, text, mask([1, 3]), options(.bias, stream: stream))
            #expect(set.sublayers == [1, 3])
            #expect(set.adapters[1]?.parameters == [0, 4, 0, 0] && set.adapters[3]?.parameters == [0, 0, 2, -1])
            #expect(set.report.ridges.isEmpty && set.report.statisticsTokens == 3)
            // No update varies, so that no share of a variance is explained.
            #expect(set.report.explained.isEmpty)
        }
    }

    @Test func aRegressionByHand() throws {
        // Before sublayer 0 the state is (id, 1); its update doubles the first place and takes one: u = (2 id - 1, 0).
        let model = AffineModel(
            table: [[0, 1], [1, 1]], matrices: [[[2, 0], [0, 0]], [[0, 0], [0, 0]]], shifts: [[-1, 0], [0, 0]])
        let text = try TokenData(tokens: [0, 1, 1, 0], lengths: [4], weights: nil)
        // S_xx = diag(1/4, 0), S_ux = 1/2 at (0, 0), trace / width = 1/8. A ridge of 2 adds 1/4: the slope halves to 1,
        // and the bias is mean u - slope * mean x = 0 - 1/2.
        for kind in [AdapterKind.linear, .lowRank] {
            let set = try solved(model, text, mask([0], blocks: 1), options(kind, rank: 1, ridge: 2))
            let adapter = try #require(set.adapters[0])
            #expect(zip(matrix(adapter), [1, 0, 0, 0]).allSatisfy { abs($0 - $1) < 1e-6 })
            #expect(zip(bias(adapter), [-0.5, 0]).allSatisfy { abs($0 - $1) < 1e-6 })
            // The error is u/2, and thus a quarter of the variance is left.
            #expect(abs((set.report.explained[0] ?? 0) - 0.75) < 1e-12 && set.report.ridges[0] == 2)
        }
    }

    @Test func mapsOfTheRankAreRecoveredExactly() throws {
        let model = affine()
        let text = try data(40)
        let cases = [
            ([1, 2], BlockSlot.attention), ([0, 1], .attention), ([0, 1, 3], .feedForward), ([2, 3], .both),
        ]
        for (removed, slot) in cases {
            for stream in [RecoveryStream.fullModel, .recovered] {
                var options = options(.linear, ridge: 1e-10, stream: stream)
                options.blockSlot = slot
                let set = try solved(model, text, mask(removed), options)
                let recovered = try RecoveredModel(model, set)
                for (a, b) in zip(try last(recovered, text), try last(model, text)) { #expect(abs(a - b) < 1e-3) }
            }
        }
        let set = try solved(model, text, mask([1, 2]), options(.lowRank, rank: 2, ridge: 1e-9))
        for sublayer in [1, 2] {
            let adapter = try #require(set.adapters[sublayer])
            for (a, b) in zip(matrix(adapter), model.matrices[sublayer].flatMap { $0 }) { #expect(abs(a - b) < 1e-4) }
            for (a, b) in zip(bias(adapter), model.shifts[sublayer]) { #expect(abs(a - b) < 1e-3) }
            #expect((set.report.explained[sublayer] ?? 0) > 1 - 1e-6)
        }
    }

    @Test func slotsOfBlocks() throws {
        let model = affine(3)
        let removed = mask([0, 1, 3, 4, 5], blocks: 3)
        func slots(_ slot: BlockSlot) throws -> [String] {
            var options = options(.linear)
            options.blockSlot = slot
            return try adapterSlots(model, under: removed, options).map { "\($0.sublayer) for \($0.span)" }
        }
        #expect(try slots(.attention) == ["0 for 0..<2", "3 for 3..<4", "4 for 4..<6"])
        #expect(try slots(.feedForward) == ["1 for 0..<2", "3 for 3..<4", "5 for 4..<6"])
        #expect(try slots(.both) == ["0 for 0..<1", "1 for 1..<2", "3 for 3..<4", "4 for 4..<5", "5 for 5..<6"])
    }

    @Test func mergedPartsAreTheWhole() throws {
        let model = affine(gain: [1, 2, 0.5, 1, 1, 3])
        let parts = try [3, 1, 7].enumerated().map { try data($1, seed: UInt64($0)) }
        let lengths = parts.flatMap { part in zip(part.offsets.dropFirst(), part.offsets).map(-) }
        let whole = try TokenData(tokens: parts.flatMap(\.tokens), lengths: lengths, weights: nil)
        for kind in [AdapterKind.bias, .lowRank, .linear] {
            let options = options(kind, ridge: 1e-3, norms: true)
            func gathered(_ data: TokenData, batch: Int) throws -> RecoveryMoments {
                var moments = try RecoveryMoments(model, under: mask([0, 3]), options)
                try moments.collect(model, data, batchTokens: batch)
                return moments
            }
            let once = try gathered(whole, batch: 1000).solve(heldOut: nil, options)
            var merged = try gathered(parts[1], batch: 2)
            try merged.merge(try gathered(parts[2], batch: 1))
            try merged.merge(try gathered(parts[0], batch: 1000))
            #expect(merged.tokens == whole.tokens.count)
            let other = try merged.solve(heldOut: nil, options)
            for sublayer in [0, 3] {
                let (a, b) = (try #require(once.adapters[sublayer]), try #require(other.adapters[sublayer]))
                for (x, y) in zip(bias(a) + matrix(a), bias(b) + matrix(b)) { #expect(abs(x - y) < 1e-5) }
            }
        }
    }

    /// Sums in double about a mean that is large beside the spread, in many chunks, against the formula in two passes.
    @Test func momentsKeepTheirDigits() throws {
        let (rows, width) = (2500, 3)
        var random = RandomSource(seed: 3, stream: 0)
        let before = (0..<rows * width).map { _ in Float(1000 + random.unit()) }
        let after = before.map { Float(Double($0) + random.unit() - 200) }
        func mean(_ value: (Int) -> Double) -> Double { (0..<rows).reduce(0) { $0 + value($1) } / Double(rows) }
        func x(_ row: Int, _ place: Int) -> Double { Double(before[row * width + place]) }
        func u(_ row: Int, _ place: Int) -> Double { Double(after[row * width + place]) - x(row, place) }
        func gathered(_ sizes: [Int], from start: Int = 0) throws -> UpdateMoments {
            var moments = UpdateMoments(width: width, matrices: true)
            var first = start
            let scratch = BufferPool()
            for size in sizes {
                let range = first * width..<(first + size) * width
                let isFinite = try Array(before[range]).withUnsafeBufferPointer { h in
                    try Array(after[range]).withUnsafeBufferPointer { g in
                        try moments.add(h.baseAddress!, g.baseAddress!, rows: size, norm: nil, scratch)
                    }
                }
                #expect(isFinite)
                first += size
            }
            return moments
        }
        var merged = try gathered([700], from: 1800)
        merged.merge(try gathered([1, 1799]))
        merged.merge(UpdateMoments(width: width, matrices: true))
        for moments in [try gathered([2500]), try gathered([1, 1024, 1475]), try gathered([700, 700, 1100]), merged] {
            #expect(moments.tokens == rows)
            let found = moments.covariances
            for i in 0..<width {
                for j in 0..<width {
                    let (xi, xj, ui) = (mean { x($0, i) }, mean { x($0, j) }, mean { u($0, i) })
                    let own = mean { (x($0, i) - xi) * (x($0, j) - xj) }
                    let cross = mean { (u($0, i) - ui) * (x($0, j) - xj) }
                    #expect(abs(found.input[i, j] - own) < 1e-10)
                    #expect(abs(found.cross[i * width + j] - cross) < 1e-10)
                }
            }
            let update = (0..<width).reduce(0.0) { sum, i in
                let ui = mean { u($0, i) }
                return sum + mean { (u($0, i) - ui) * (u($0, i) - ui) }
            }
            #expect(abs(found.update - update) < 1e-10)
        }
        #expect(
            try gathered([2500]).secondMoments(aboutInput: [0, 0, 0], update: [0, 0, 0]).input[0, 1]
                .distance(to: mean { x($0, 0) * x($0, 1) }).magnitude < 1e-6)
    }

    /// One token, fewer tokens than places, inputs that never change, updates of nothing: bounded, and right on the data.
    @Test func closedFormsOfFewTokensStayFinite() throws {
        let model = affine(gain: [1, 1, 1, 1, 1, 1])
        for ids: [Int32] in [[0], [0, 0, 0, 0], [1, 2], [3, 1, 4, 1]] {
            let text = try TokenData(tokens: ids, lengths: [ids.count], weights: nil)
            for kind in [AdapterKind.bias, .linear, .lowRank] {
                for (rank, ridge) in [(6, 0), (1, nil), (nil, 1e-3), (nil, nil)] as [(Int?, Double?)] {
                    for stream in [RecoveryStream.fullModel, .recovered] {
                        let options = options(kind, rank: rank, ridge: ridge, norms: true, stream: stream)
                        let set = try solved(model, text, mask([0, 1, 2]), options)
                        #expect(
                            set.adapters.values.allSatisfy { $0.parameters.allSatisfy { $0.isFinite && abs($0) < 100 } }
                        )
                        guard kind == .linear, ridge == 0 else { continue }
                        let end = try last(RecoveredModel(model, set), text)
                        for (a, b) in zip(end, try last(model, text)) { #expect(abs(a - b) < 1e-2) }
                    }
                }
            }
        }
        let still = HandModel(updates: [[0, 0], [1, 0]])
        let text = try TokenData(tokens: [0, 1, 0], lengths: [3], weights: nil)
        let set = try solved(still, text, mask([0], blocks: 1), options(.lowRank, rank: 2))
        #expect(set.adapters[0]?.parameters.allSatisfy { $0 == 0 } == true)
    }

    @Test func groupsAndStatesThatDoNotFitChangeNothing() throws {
        let model = affine(3, gain: [1, 2, 1, 1, 0.5, 1])
        let text = try data(12)
        let removed = mask([0, 1, 2, 5], blocks: 3)
        for stream in [RecoveryStream.fullModel, .recovered] {
            var options = options(.lowRank, rank: nil, ridge: nil, norms: true, stream: stream)
            options.batchTokens = 4
            let free = try solved(model, text, removed, options)
            options.memoryBudget = 1
            let tight = try solved(model, text, removed, options)
            #expect(free.adapters == tight.adapters && free.report.ridges == tight.report.ridges)
            #expect(free.report.explained == tight.report.explained && free.sublayers == [0, 2, 5])
        }
    }

    @Test func threadsChangeNoBit() throws {
        let before = ThreadPool.threads
        defer { ThreadPool.threads = before }
        let model = affine(3)
        let text = try data(700)
        var found: [AdapterSet] = []
        for threads in [1, 2, 3] {
            ThreadPool.threads = threads
            found.append(try solved(model, text, mask([0, 3, 4], blocks: 3), options(.lowRank, rank: nil, ridge: nil)))
        }
        #expect(
            found.allSatisfy { $0.adapters == found[0].adapters && $0.report.explained == found[0].report.explained })
    }

    @Test func ridgeAndRankAreChosenByHeldOutTokens() throws {
        let model = affine()
        // All tokens are seen, the maps have rank 2 and no noise: little ridge, and no more rank than that.
        let set = try solved(model, try data(60), mask([1]), options(.lowRank, rank: nil, ridge: nil))
        #expect(set.adapters[1]?.rank == 2 && set.report.ridges[1] == 1e-6)
        // From two tokens' states others cannot be told: the ridge that says least about them is best.
        let few = try TokenData(tokens: [0, 1], lengths: [2], weights: nil)
        for kind in [AdapterKind.linear, .lowRank] {
            let options = options(kind, rank: 1, ridge: nil)
            let held = try data(30)
            let chosen = try closedForm(model, few, heldOut: held, under: mask([1]), options, progress: nil)
            for ridge in RidgeRegression.grid {
                var fixed = options
                fixed.ridge = ridge
                let other = try closedForm(model, few, heldOut: held, under: mask([1]), fixed, progress: nil)
                #expect((chosen.report.explained[1] ?? -9) >= (other.report.explained[1] ?? 9) - 1e-6)
            }
        }
    }

    @Test func closedFormsRefuseMasksAndRanksThatDoNotFit() throws {
        let model = affine()
        let text = try data(4)
        func kind(_ mask: KeepMask, _ change: (inout AdapterOptions) -> Void) -> FailureKind? {
            var options = options(.lowRank)
            change(&options)
            return error { _ = try solved(model, text, mask, options) }?.kind
        }
        #expect(kind(mask([])) { _ in } == .argument)
        #expect(kind(mask([0], blocks: 3)) { _ in } == .argument)
        #expect(kind(mask([0])) { $0.rank = 7 } == .argument)
        #expect(kind(mask([0])) { $0.rank = 0 } == .argument)
        #expect(kind(mask([0])) { $0.mostRank = 0 } == .argument)
        #expect(kind(mask([0])) { $0.ridge = .nan } == .argument)
        #expect(kind(mask([0])) { $0.ridge = -1 } == .argument)
        #expect(kind(mask([0])) { $0.batchTokens = 0 } == .argument)
        #expect(kind(mask([0])) { $0.normsInput = true } == .unsupported)
        let raw = error { _ = try solved(model, text, mask([0]), options(.linear, norms: true)) }
        #expect(raw?.message.contains("attn.0") == true && raw?.message.contains("raw") == true)
        var moments = try RecoveryMoments(model, under: mask([0]), options(.linear))
        #expect(error { _ = try moments.solve(heldOut: nil, options(.linear)) }?.kind == .data)
        try moments.collect(model, text, batchTokens: 8)
        #expect(error { _ = try moments.solve(heldOut: nil, options(.lowRank, rank: nil)) }?.kind == .argument)
        for other in [(mask([1]), options(.linear)), (mask([0]), options(.bias))] {
            let stranger = try RecoveryMoments(model, under: other.0, other.1)
            #expect(error { try moments.merge(stranger) }?.kind == .argument)
            #expect(error { _ = try moments.solve(heldOut: stranger, options(.linear)) }?.kind == .argument)
        }
        #expect(error { try moments.collect(affine(3), text, batchTokens: 8) }?.kind == .argument)
    }

    @Test func brokenStatesAndCancelling() throws {
        let broken = HandModel(updates: [[0, 0], [0, 0], [.infinity, 0], [0, 0]])
        let text = try TokenData(tokens: [0, 1, 0], lengths: [1, 2], weights: nil)
        for stream in [RecoveryStream.fullModel, .recovered] {
            let options = options(.linear, stream: stream)
            let found = error { _ = try solved(broken, text, mask([2]), options) }
            #expect(found?.kind == .nonFinite && found?.message.contains("attn.1") == true)
            var told: [(done: Int, total: Int)] = []
            let fine = affine()
            _ = try closedForm(fine, text, heldOut: text, under: mask([1, 3]), options) {
                told.append(($0.done, $0.total))
                return false
            }
            #expect(told.last.map { $0.done == $0.total } == true)
            let stopped = error {
                _ = try closedForm(fine, text, heldOut: text, under: mask([1, 3]), options) { _ in true }
            }
            #expect(stopped?.kind == .cancelled)
        }
    }
}
