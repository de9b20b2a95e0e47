// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

@testable import PruneCore

@Suite("Adapters")
struct AdapterTests {
    static let width = 6
    /// Of the input; nil = none.
    static let norms: [NormKind?] = [nil, .rootMeanSquare, .layer]

    /// An adapter whose numbers are all drawn; a layer norm has a bias.
    private func drawn(_ kind: AdapterKind, norm: NormKind?, _ random: inout SeededGenerator) -> Adapter {
        func vector(_ range: ClosedRange<Float>) -> [Float] {
            (0..<Self.width).map { _ in Float.random(in: range, using: &random) }
        }
        let gain = vector(0.5...1.5)
        let norm = norm.map {
            InputNorm($0, gain: gain, bias: $0 == .layer ? vector(-1...1) : nil, epsilon: 1e-3)
        }
        var adapter = Adapter(kind, width: Self.width, rank: 2, norm: norm)
        for index in adapter.parameters.indices { adapter.parameters[index] = Float.random(in: -1...1, using: &random) }
        return adapter
    }

    /// What an adapter makes of one row, in double and in the order of its definition.
    private func expected(_ adapter: Adapter, _ h: [Double]) -> [Double] {
        var x = h
        if let norm = adapter.norm {
            let middle = norm.kind == .layer ? h.reduce(0, +) / Double(h.count) : 0
            let mean = h.reduce(0) { $0 + ($1 - middle) * ($1 - middle) } / Double(h.count)
            x = zip(h, norm.gain).map { ($0 - middle) * Double($1) / (mean + Double(norm.epsilon)).squareRoot() }
            if let bias = norm.bias { x = zip(x, bias).map { $0 + Double($1) } }
        }
        func rows(_ range: Range<Int>, _ columns: Int, _ x: [Double]) -> [Double] {
            stride(from: range.lowerBound, to: range.upperBound, by: columns).map { first in
                (0..<columns).reduce(0.0) { $0 + Double(adapter.parameters[first + $1]) * x[$1] }
            }
        }
        var update = adapter.parameters[adapter.biasRange].map(Double.init)
        switch adapter.kind {
        case .bias: break
        case .lowRank:
            let inner = rows(adapter.downRange, Self.width, x)
            update = zip(update, rows(adapter.upRange, adapter.rank, inner)).map(+)
        case .linear: update = zip(update, rows(adapter.matrixRange, Self.width, x)).map(+)
        }
        return zip(h, update).map(+)
    }

    private func applied(_ adapter: Adapter, _ h: [Float]) throws -> [Float] {
        var out = [Float](repeating: 0, count: h.count)
        try out.withUnsafeMutableBufferPointer { out in
            try h.withUnsafeBufferPointer { h in
                try AdapterLayer(adapter, BufferPool()).apply(
                    h.baseAddress!, rows: h.count / Self.width, into: out.baseAddress!)
            }
        }
        return out
    }

    @Test(arguments: AdapterKind.allCases, norms)
    func anAdapterAddsWhatItsDefinitionSays(_ kind: AdapterKind, _ norm: NormKind?) throws {
        var random = SeededGenerator(state: 4)
        let adapter = drawn(kind, norm: norm, &random)
        // More rows than one piece holds.
        let h = (0..<300 * Self.width).map { _ in Float.random(in: -2...2, using: &random) }
        let found = try applied(adapter, h)
        for row in 0..<300 {
            let own = row * Self.width..<(row + 1) * Self.width
            for (value, wanted) in zip(found[own], expected(adapter, h[own].map(Double.init))) {
                #expect(abs(Double(value) - wanted) < 1e-5)
            }
        }
    }

    /// Gradients against central differences of the definition, in double.
    @Test(arguments: AdapterKind.allCases, norms)
    func gradients(_ kind: AdapterKind, _ norm: NormKind?) throws {
        var random = SeededGenerator(state: 9)
        let adapter = drawn(kind, norm: norm, &random)
        let rows = 150
        let h = (0..<rows * Self.width).map { _ in Float.random(in: -2...2, using: &random) }
        let slopes = (0..<h.count).map { _ in Float.random(in: -1...1, using: &random) }
        var sum = [Float](repeating: 0, count: adapter.parameters.count)
        var out = [Float](repeating: 0, count: h.count)
        try out.withUnsafeMutableBufferPointer { out in
            try AdapterLayer(adapter, BufferPool()).pullback(
                at: h, of: slopes, rows: rows, addingTo: &sum, into: out.baseAddress)
        }
        func scalar(_ adapter: Adapter, _ h: [Double]) -> Double {
            (0..<h.count / Self.width).reduce(0.0) { total, row in
                let own = row * Self.width..<(row + 1) * Self.width
                return total
                    + zip(expected(adapter, Array(h[own])), slopes[own]).reduce(0.0) { $0 + $1.0 * Double($1.1) }
            }
        }
        let wide = h.map(Double.init)
        for index in [0, 5, 7 * Self.width + 3, h.count - 1] {
            let row = index / Self.width * Self.width
            var (up, down) = (wide, wide)
            up[index] += 1e-4
            down[index] -= 1e-4
            let own = row..<row + Self.width
            // One row is enough: the others do not change.
            func of(_ values: [Double]) -> Double {
                zip(expected(adapter, Array(values[own])), slopes[own]).reduce(0.0) { $0 + $1.0 * Double($1.1) }
            }
            #expect(abs((of(up) - of(down)) / 2e-4 - Double(out[index])) < 1e-4)
        }
        for index in stride(from: 0, to: adapter.parameters.count, by: 5) {
            var (up, down) = (adapter, adapter)
            up.parameters[index] += 0.125
            down.parameters[index] -= 0.125
            // Exact but for rounding: the update is linear in each of its parameters.
            let slope = (scalar(up, wide) - scalar(down, wide)) / 0.25
            #expect(abs(slope - Double(sum[index])) < 1e-3 * max(1, abs(slope)))
        }
    }

    @Test func adapterGradientsAddToWhatIsThere() throws {
        var random = SeededGenerator(state: 2)
        let adapter = drawn(.lowRank, norm: .rootMeanSquare, &random)
        let h = (0..<4 * Self.width).map { _ in Float.random(in: -2...2, using: &random) }
        var once = [Float](repeating: 0, count: adapter.parameters.count)
        let layer = AdapterLayer(adapter, BufferPool())
        try layer.pullback(at: h, of: h, rows: 4, addingTo: &once, into: nil)
        var twice = once
        try layer.pullback(at: h, of: h, rows: 4, addingTo: &twice, into: nil)
        for (one, two) in zip(once, twice) { #expect(abs(two - 2 * one) <= 1e-5 * max(1, abs(two))) }
    }
}

@Suite("Recovered models")
struct RecoveredModelTests {
    let base = HandModel(updates: [[3, 0, 0], [0, 4, 0], [1, 1, 1], [0, 0, 2]])

    private func adapters(_ mask: KeepMask, _ adapters: [Int: Adapter], sample: [Float] = [], width: Int = 3)
        -> AdapterSet
    {
        AdapterSet(mask: mask, adapters: adapters, weightSample: sample, hiddenSize: width)
    }

    private func bias(_ values: [Float]) -> Adapter {
        var adapter = Adapter(.bias, width: values.count)
        adapter.parameters = values
        return adapter
    }

    @Test func anAdapterStandsWhereItsSublayerStood() throws {
        let mask = try KeepMask(bytes: [1, 0, 0, 1])
        let model = try RecoveredModel(base, adapters(mask, [1: bias([10, 20, 30])]))
        let data = try TokenData(tokens: [2, 0], lengths: [2], weights: nil)
        let start = try model.start(TokenBatch(data, 0..<1))
        let end = try model.run(start, under: KeepMask(blocks: 2))
        // Token 2 starts at (2, 1, 0); sublayer 0 adds 3 to the first place, the adapter its bias, 3 adds 2 to the last.
        try model.read(end) { values throws(PruneError) in
            #expect((0..<3).map { values[$0] } == [15, 21, 32])
        }
        // A mask for the recovered model takes the adapter away.
        let pruned = try model.run(start, under: KeepMask(blocks: 2).removing(unit: 1, .sublayer))
        try model.read(pruned) { values throws(PruneError) in
            #expect((0..<3).map { values[$0] } == [5, 1, 2])
        }
    }

    @Test func costsAreThoseOfTheAdapters() throws {
        let mask = try KeepMask(bytes: [0, 0, 1, 1])
        let linear = Adapter(.linear, width: 3, norm: InputNorm(gain: [1, 1, 1], epsilon: 0))
        let model = try RecoveredModel(base, adapters(mask, [0: linear]))
        #expect(model.shape.sublayers.map(\.parameters) == [15, 0, 3, 4])
        #expect(model.shape.sublayers.map(\.keyValueBytes) == [0, 0, 8, 0])
        #expect(model.shape.cost(under: KeepMask(blocks: 2)).parameterBytes == 20 + 60 + 12 + 16)
    }

    @Test func adaptersOfAnotherModelAreRefused() throws {
        let mask = try KeepMask(bytes: [0, 1, 1, 1])
        expectFault(.argument, naming: "hidden size 4", "3") {
            _ = try RecoveredModel(base, adapters(mask, [0: bias([1, 2, 3, 4])], width: 4))
        }
        expectFault(.argument, naming: "1 blocks", "2") {
            _ = try RecoveredModel(base, adapters(KeepMask(blocks: 1).removing(unit: 0, .sublayer), [:]))
        }
        let real = try NativeModel(directory: talesDirectory, compute: .float32)
        let sample = try real.weightSample()
        #expect(sample.count == 12 * 7)
        let whole = KeepMask(blocks: 12).removing(unit: 3, .attention)
        _ = try RecoveredModel(real, adapters(whole, [6: Adapter(.bias, width: 128)], sample: sample, width: 128))
        // What storing weights in another type does to them does not make another model; another sign is.
        let rounded = sample.map { $0 * 1.003 }
        _ = try RecoveredModel(real, adapters(whole, [:], sample: rounded, width: 128))
        var other = sample
        other[40] = -other[40]
        expectFault(.argument, naming: "other weights") {
            _ = try RecoveredModel(real, adapters(whole, [:], sample: other, width: 128))
        }
    }
}
