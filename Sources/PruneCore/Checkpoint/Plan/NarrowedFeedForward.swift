// SPDX-License-Identifier: Apache-2.0
/// A feed-forward of fewer neurons, and what stays of the tensors that it is stored in.
///
/// A neuron is a row of gate and up (of the one matrix there is, where there are no gates), and the column of down that it
/// meets. Where one tensor holds gates and ups, it keeps their order.
struct NarrowedFeedForward {
    let plan: FeedForwardPlan
    /// By tensor, each once.
    let cuts: [TensorCut]

    /// What stays of a tensor: some entries of one of its dimensions, in their order.
    struct TensorCut {
        let tensor: String
        let dimension: Int
        let kept: [Int]
    }

    /// - Parameter neurons: those that stay, ascending and in range.
    /// Errors: `.unsupported` if a tensor holds more than the feed-forward.
    init(_ plan: FeedForwardPlan, keeping neurons: [Int]) throws(PruneError) {
        var outputs: [String: Outputs] = [:]
        let pairs = neurons.flatMap { [2 * $0, 2 * $0 + 1] }
        let inputs: [(plan: ProjectionPlan, kept: [Int])] =
            switch plan.inputs {
            case .gated(let gate, let up): [(gate, neurons), (up, neurons)]
            case .alternating(let both): [(both, pairs)]
            case .plain(let only): [(only, neurons)]
            }
        for (own, kept) in inputs {
            for place in [own.weight, own.bias].compactMap(\.self) {
                outputs[place.tensor, default: Outputs(place)].add(kept, from: place.first, of: own.outputs)
            }
        }
        for (name, own) in outputs where own.whole != own.covered {
            throw PruneError(
                .unsupported,
                "tensor \(name.quoted) holds more than the feed-forward that is to be narrowed (\(own.covered) of \(own.whole) outputs)"
            )
        }
        func narrowed(_ own: ProjectionPlan, _ kept: [Int]) -> ProjectionPlan {
            ProjectionPlan(
                outputs: kept.count, inputs: own.inputs,
                weight: outputs[own.weight.tensor]?.place(own.weight) ?? own.weight,
                bias: own.bias.map { outputs[$0.tensor]?.place($0) ?? $0 }, absentBias: own.absentBias)
        }
        let made = inputs.map { narrowed($0.plan, $0.kept) }
        let newInputs: FeedForwardPlan.Inputs =
            switch plan.inputs {
            case .gated: .gated(gate: made[0], up: made[1])
            case .alternating: .alternating(made[0])
            case .plain: .plain(made[0])
            }
        let (down, dimension) = Self.narrowed(plan.down, to: neurons.count)
        self.plan = FeedForwardPlan(inputs: newInputs, down: down, activation: plan.activation)
        cuts =
            outputs.sorted { $0.key < $1.key }.map {
                TensorCut(tensor: $0.key, dimension: $0.value.dimension, kept: $0.value.kept.sorted())
            } + [TensorCut(tensor: plan.down.weight.tensor, dimension: dimension, kept: neurons)]
    }

    /// The last projection with fewer inputs, and which dimension of its tensor they are.
    private static func narrowed(_ down: ProjectionPlan, to count: Int) -> (ProjectionPlan, dimension: Int) {
        let dimension = down.weight.isTransposed ? 0 : 1
        var shape = down.weight.shape
        shape[dimension] = count
        let weight = ProjectionPlan.Place(
            tensor: down.weight.tensor, shape: shape, first: down.weight.first, isTransposed: down.weight.isTransposed)
        return (
            ProjectionPlan(
                outputs: down.outputs, inputs: count, weight: weight, bias: down.bias, absentBias: down.absentBias),
            dimension
        )
    }
}

/// Outputs of projections that one tensor holds.
private struct Outputs {
    /// Which dimension they are.
    let dimension: Int
    let whole: Int
    private(set) var covered = 0
    private(set) var kept: [Int] = []

    init(_ place: ProjectionPlan.Place) {
        dimension = place.isTransposed ? place.shape.count - 1 : 0
        whole = place.shape.isEmpty ? 0 : place.shape[dimension]
    }

    mutating func add(_ outputs: [Int], from first: Int, of count: Int) {
        covered += count
        kept += outputs.map { first + $0 }
    }

    /// Where a projection's outputs begin once the others are gone.
    func place(_ own: ProjectionPlan.Place) -> ProjectionPlan.Place {
        var shape = own.shape
        shape[dimension] = kept.count
        return ProjectionPlan.Place(
            tensor: own.tensor, shape: shape, expert: own.expert, first: kept.count { $0 < own.first },
            isTransposed: own.isTransposed)
    }
}

extension SublayerPlan {
    /// The same around another update.
    func computing(_ update: Update) -> SublayerPlan {
        SublayerPlan(
            before: before, after: after, last: last, scale: scale, readsBlockInput: readsBlockInput, update: update)
    }
}
