// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// A quantity of predicting tokens, weighted as the data says, as running sums in double.
struct TokenMean {
    private(set) var sum = 0.0
    private(set) var weight = 0.0
    private(set) var tokens = 0
    private(set) var sequences = 0
    /// Sum over sequences of exp(mean of the sequence).
    private(set) var sequencePerplexities = 0.0

    init() {}

    /// That of some batches, of which no more is known than their mean: perplexities of sequences are not.
    init(mean: Double, of batches: [TokenBatch]) {
        for batch in batches {
            let rows = batch.predictingRows(weighted: true)
            add(Array(repeating: 0, count: rows.count), at: rows, of: batch)
        }
        sum = mean * weight
        sequencePerplexities = .nan
    }

    /// Adds the values of `rows`, which are `batch.predictingRows(weighted: true)`.
    mutating func add(_ values: [Float], at rows: [Int], of batch: TokenBatch) {
        var next = 0
        for sequence in batch.sequences {
            let end = batch.rows(ofSequence: sequence).upperBound
            var ownSum = 0.0
            var ownWeight = 0.0
            let first = next
            while next < rows.count, rows[next] < end {
                let weight = batch.data.weights.map { Double($0[batch.tokens.lowerBound + rows[next] + 1]) } ?? 1
                ownSum += weight * Double(values[next])
                ownWeight += weight
                next += 1
            }
            guard next > first else { continue }
            sum += ownSum
            weight += ownWeight
            tokens += next - first
            sequences += 1
            sequencePerplexities += exp(ownSum / ownWeight)
        }
    }

    var mean: Double { sum / weight }
}

/// Throws if a data set has no token to predict.
func checkPredicts(_ batches: [TokenBatch]) throws(PruneError) {
    guard batches.contains(where: { !$0.predictingRows(weighted: true).isEmpty }) else {
        throw PruneError(
            .data, "nothing to predict: every sequence has one token, or every token weight is 0; give longer sequences"
        )
    }
}

/// The losses of some rows: of the tokens given, or of those that follow in the data.
///
/// Errors: `.nonFinite`, naming the layer where it began.
func finiteLosses(
    _ model: any Model, _ state: any HiddenState, at rows: [Int], of tokens: [Int32]? = nil, under mask: KeepMask
) throws(PruneError) -> [Float] {
    let losses = try model.losses(state, at: rows, of: tokens ?? state.batch.followers(of: rows))
    guard losses.allSatisfy(\.isFinite) else { throw try model.nonFiniteError(in: state.batch, under: mask) }
    return losses
}
