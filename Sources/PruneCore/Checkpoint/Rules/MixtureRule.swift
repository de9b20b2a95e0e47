// SPDX-License-Identifier: Apache-2.0
/// A mixture of experts: which blocks have one, how its router chooses, and how tensors hold the experts.
struct MixtureRule: Sendable {
    /// The first that is there counts.
    var expertCountKeys: [String]
    /// nil = a model without the key is dense.
    var missingExpertCount: Int?
    var chosenCountKey: String
    var missingChosenCount: Int
    var sizeKey = "moe_intermediate_size"
    var router: String
    var routerHasBias = false
    /// Whether the weights of the chosen experts are divided by their sum.
    var isNormalised: Setting<Bool>
    var experts: Experts
    var shared: Shared?
    /// nil = every block has a mixture.
    var sparseStepKey: String?
    var denseBlocksKey: String?
    /// Keys of limit and slope of `Activation.clamped`; nil = the activation is as `FeedForwardRule` says.
    var clamp: (limit: Setting<Double>, slope: Setting<Double>)?

    enum Experts: Sendable {
        /// A tensor for each matrix: "<path>.<number>.<name>".
        case separate(path: String, gate: String, up: String, down: String)
        /// [experts, outputs, inputs] for each of the three: GGUF files.
        case apart(gate: String, up: String, down: String)
        /// [experts, gates and then ups, inputs], and [experts, outputs, inputs].
        case stacked(inner: String, down: String)
        /// [experts, inputs, gate and up by turns], with biases: gpt-oss.
        case alternating(inner: String, down: String)
    }

    struct Shared: Sendable {
        var sizeKey: String
        /// nil = the key must be there.
        var missingSize: Int?
        var inner: TensorNames.Inner
        var down: String
        /// Of its weight; nil = it counts in full.
        var gate: String?
    }
}

extension MixtureRule {
    /// The activation that experts have instead of the dense one; nil = the same.
    func readActivation(_ file: ConfigObject) throws(PruneError) -> Activation? {
        guard let clamp else { return nil }
        return .clamped(limit: Float(try clamp.limit.read(file)), slope: Float(try clamp.slope.read(file)))
    }
}
