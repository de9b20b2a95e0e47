// SPDX-License-Identifier: Apache-2.0
/// How much each neuron of each feed-forward matters, by block; empty where no feed-forward stands.
public struct NeuronScores: Sendable {
    /// Mean over sequences of ||h_j||_2 over the tokens of a sequence, with h_j what neuron j gives (2SSP, arXiv 2501.17771,
    /// section 3.1).
    public let norms: [[Double]]
    /// Root mean square over tokens of h_j, times the L2 norm of the column of the last projection that it meets: the size of
    /// what the neuron adds to the update. The squares of two neurons' contributions compare what their removal changes.
    public let contributions: [[Double]]
}

/// Neurons of the feed-forward of each block; 0 where the mask removes it or none stands.
///
/// Errors: `.unsupported` for a mixture that the mask keeps, and for models whose neurons cannot be read.
public func neuronCounts(_ model: any Model, under mask: KeepMask) throws(PruneError) -> [Int] {
    try model.shape.check(mask)
    return try (0..<mask.blockCount).map { block throws(PruneError) in
        mask.keeps(2 * block + 1) ? try model.neuronCount(ofSublayer: 2 * block + 1) : 0
    }
}

/// Scores the neurons of all feed-forwards by one forward pass under a mask.
///
/// Errors: those of `neuronCounts`; `.nonFinite` naming the layer; `.cancelled`; those of the pass.
public func neuronScores(
    _ model: any Model, _ data: TokenData, under mask: KeepMask, batchTokens: Int = TokenData.usualBatch,
    progress: ProgressMeter.Listener? = nil
) throws(PruneError) -> NeuronScores {
    let counts = try neuronCounts(model, under: mask)
    let batches = data.batches(of: batchTokens)
    let meter = ProgressMeter(
        stage: "score neurons", total: batches.count * mask.kept.count, listener: progress)
    let neurons = counts.reduce(0, +)
    try Memory.require(neurons.times(clamping: 32), for: "scores of \(neurons) neurons", "score a smaller model")
    let sums = counts.map { NeuronSums(count: $0) }
    for wave in model.waves(of: batches, statesPerRow: 2) {
        let own = Array(batches[wave])
        var states: [any HiddenState] = []
        for batch in own { states.append(try model.start(batch)) }
        for sublayer in mask.kept {
            // A batch at a time: what is inside a feed-forward is wider than a hidden state.
            for index in own.indices {
                if sublayer % 2 == 1, counts[sublayer / 2] > 0 {
                    let target = sums[sublayer / 2]
                    states[index] = try model.apply(sublayer, to: [states[index]]) {
                        (values, batches) throws(PruneError) in target.add(values, batches)
                    }[0]
                } else {
                    states[index] = try model.apply(sublayer, to: [states[index]])[0]
                }
                try meter.advance(by: 1)
            }
        }
        // A value that is none spreads to every sum after it.
        if sums.contains(where: { !$0.isFinite }) {
            for batch in own { throw try model.nonFiniteError(in: batch, under: mask) }
        }
    }
    var contributions: [[Double]] = []
    for (block, own) in sums.enumerated() {
        let reach = counts[block] > 0 ? try model.neuronReach(ofSublayer: 2 * block + 1) : []
        contributions.append(zip(own.rootMeanSquares, reach).map { $0 * $1 })
    }
    return NeuronScores(norms: sums.map(\.meanNorms), contributions: contributions)
}

/// Running sums of the neurons of one feed-forward. Filled by one caller at a time.
private final class NeuronSums {
    private let count: Int
    private var norms, squares: [Double]
    private var sequences = 0
    private var tokens = 0

    init(count: Int) {
        self.count = count
        (norms, squares) = (Array(repeating: 0, count: count), Array(repeating: 0, count: count))
    }

    var isFinite: Bool { squares.allSatisfy(\.isFinite) }
    var meanNorms: [Double] { norms.map { $0 / Double(max(sequences, 1)) } }
    var rootMeanSquares: [Double] { squares.map { ($0 / Double(max(tokens, 1))).squareRoot() } }

    /// Adds the rows of some batches, rows x count. Sums are in double, in the order of the rows.
    func add(_ values: UnsafePointer<Float>, _ batches: [TokenBatch]) {
        var first = 0
        for batch in batches {
            for sequence in batch.sequences {
                let rows = batch.rows(ofSequence: sequence)
                add(values + (first + rows.lowerBound) * count, rows: rows.count)
            }
            first += batch.rowCount
        }
    }

    private func add(_ values: UnsafePointer<Float>, rows: Int) {
        sequences += 1
        tokens += rows
        let (count, stretch) = (count, 256)
        norms.withUnsafeMutableBufferPointer { norms in
            squares.withUnsafeMutableBufferPointer { squares in
                // Safe: each neuron is in one stretch, which one thread adds up.
                nonisolated(unsafe) let (norms, squares, values) = (norms, squares, values)
                ThreadPool.forEach((count + stretch - 1) / stretch) { piece, _ in
                    let own = piece * stretch..<min((piece + 1) * stretch, count)
                    withUnsafeTemporaryAllocation(of: Double.self, capacity: own.count) { sums in
                        sums.initialize(repeating: 0)
                        for row in 0..<rows {
                            let line = values + row * count + own.lowerBound
                            for place in 0..<own.count { sums[place] += Double(line[place]) * Double(line[place]) }
                        }
                        for (place, neuron) in own.enumerated() {
                            squares[neuron] += sums[place]
                            norms[neuron] += sums[place].squareRoot()
                        }
                    }
                }
            }
        }
    }
}
