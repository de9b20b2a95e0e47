// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// What a model is worth on a data set under one mask.
public struct Evaluation: Sendable {
    /// Weighted mean of the negative log-likelihood over all predicted tokens, nats.
    public let loss: Double
    /// Mean over sequences of exp(mean loss of the sequence), as arXiv 2407.16286 has it: not exp(loss).
    public let sequencePerplexity: Double
    /// Sum of the weights of the predicted tokens.
    public let weight: Double
    /// Predicted tokens whose weight is above 0, and sequences that have such a token.
    public let tokens: Int
    public let sequences: Int

    /// exp(loss): pooled over tokens.
    public var perplexity: Double { exp(loss) }
}

extension TokenMean {
    var evaluation: Evaluation {
        Evaluation(
            loss: mean, sequencePerplexity: sequencePerplexities / Double(sequences), weight: weight, tokens: tokens,
            sequences: sequences)
    }
}

/// Evaluates a model under each of some masks, as one walk over their prefix tree.
///
/// Errors: `.data` if there is nothing to predict; `.nonFinite` naming the layer; `.cancelled`.
public func evaluate(
    _ model: any Model, _ data: TokenData, under masks: [KeepMask], _ options: WalkOptions = WalkOptions(),
    progress: ProgressMeter.Listener? = nil
) throws(PruneError) -> [Evaluation] {
    let measured = try Measurement(
        model, data, under: masks, [.loss], options, stage: "evaluate", progress: progress)
    return measured.means.map { $0[0].evaluation }
}
