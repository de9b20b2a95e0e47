// SPDX-License-Identifier: Apache-2.0
/// The weights of one feed-forward sublayer or expert.
final class FeedForwardWeights: Sendable {
    let inputs: Inputs
    let down: Projection
    let activation: Activation

    enum Inputs: Sendable {
        case gated(gate: Projection, up: Projection)
        case alternating(Projection)
        case plain(Projection)
    }

    init(inputs: Inputs, down: Projection, activation: Activation) {
        self.inputs = inputs
        self.down = down
        self.activation = activation
    }

    var inputProjections: [Projection] {
        switch inputs {
        case .gated(let gate, let up): [gate, up]
        case .alternating(let both): [both]
        case .plain(let only): [only]
        }
    }

    var projections: [Projection] { inputProjections + [down] }
}
