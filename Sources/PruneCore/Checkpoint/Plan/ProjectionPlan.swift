// SPDX-License-Identifier: Apache-2.0
/// x -> weight * x + bias, and where both are stored: a tensor of their own, or a part of one that holds more.
struct ProjectionPlan: Sendable {
    let outputs: Int
    let inputs: Int
    let weight: Place
    /// nil = none.
    let bias: Place?
    /// The tensor that a bias would have; where there is one all the same, the model would be computed wrongly.
    let absentBias: String?

    /// Some outputs of a tensor.
    struct Place: Sendable {
        let tensor: String
        /// The whole tensor's: [outputs, inputs], or [inputs, outputs] of a transposed one, with the number of experts
        /// before them where it holds the matrices of all; [outputs] or [experts, outputs] of a bias.
        let shape: [Int]
        /// Which expert's; nil = it is not a tensor of experts.
        var expert: Int?
        /// The first output.
        var first = 0
        /// Whether inputs are rows, as GPT-2 stores them.
        var isTransposed = false
    }
}
