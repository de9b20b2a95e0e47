// SPDX-License-Identifier: Apache-2.0
/// What one sublayer computes: h -> last(h + scale * after(update(before(x)))), where x is h, or in a block whose sublayers
/// stand side by side the hidden state before the block.
///
/// Every family is a row of such values; the engine has one forward, one pullback and one decode for all of them.
struct SublayerPlan: Sendable {
    /// The pre-norm; nil = there is none.
    let before: NormPlan?
    /// Of the update, before it is added; nil = none.
    let after: NormPlan?
    /// Of the sum; nil = none. It stays where the sublayer is removed: h -> last(h).
    let last: NormPlan?
    let scale: Float
    /// Whether x is the hidden state before the block, where the attention of the block is kept.
    let readsBlockInput: Bool
    let update: Update

    enum Update: Sendable {
        case attention(AttentionPlan)
        case feedForward(FeedForwardPlan)
        case mixture(MixturePlan)
    }
}

extension SublayerPlan {
    /// Whether the update is added to the hidden state as it is.
    var addsPlainly: Bool { after == nil && last == nil && scale == 1 }

    /// The tensor of the bias that may take up a constant which the hidden state is to gain; nil if there is none, or what
    /// comes after it would change the constant.
    var foldableBias: String? { addsPlainly ? lastBias : nil }

    /// The tensor of the bias of the last projection; nil if it has none, or there are several.
    private var lastBias: String? {
        switch update {
        case .attention(let attention): attention.output.bias?.tensor
        case .feedForward(let feedForward): feedForward.down.bias?.tensor
        case .mixture: nil
        }
    }

    /// Of attention; nil = all tokens before a query, or no attention.
    var window: Int? {
        if case .attention(let attention) = update { attention.window } else { nil }
    }
}

/// What comes before the first sublayer: scale * row + position row, then into the width of the residual stream.
struct EmbeddingPlan: Sendable {
    /// Width of the table's rows.
    let width: Int
    let scale: Float
    /// Learned positions; nil = none.
    let positions: Positions?
    /// From the table's width to that of the residual stream; nil = they are the same.
    let projection: ProjectionPlan?

    struct Positions: Sendable {
        let tensor: String
        /// Of the table: the tokens of a sequence at most, and `offset`.
        let rows: Int
        /// The row of the first token.
        let offset: Int
    }
}

/// What makes logits of the last hidden state: softCap * tanh((head * projection(norm(h)) + bias) / softCap). A factor on all
/// logits stands in the norm.
struct HeadPlan: Sendable {
    /// nil = none.
    let norm: NormPlan?
    let projection: ProjectionPlan?
    let bias: String?
    let softCap: Float?
}
