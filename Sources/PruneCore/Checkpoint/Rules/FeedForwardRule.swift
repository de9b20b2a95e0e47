// SPDX-License-Identifier: Apache-2.0
/// A dense feed-forward: its width, biases and activation.
struct FeedForwardRule: Sendable {
    var sizeKey = "intermediate_size"
    /// Of the hidden size, where the key is missing or null; nil = it must be there.
    var missingMultiple: Int?
    var hasBias = Setting.fixed(false)
    var activationKey = "hidden_act"
    var missingActivation = "silu"
    /// Names that the family takes for others.
    var activationNames: [String: String] = [:]
}

extension FeedForwardRule {
    func readActivation(_ file: ConfigObject) throws(PruneError) -> Activation {
        let name = try file.optionalString(activationKey) ?? missingActivation
        guard let activation = Activation(name: activationNames[name] ?? name) else {
            throw file.fault(
                .unsupported, activationKey, "is \(name.quoted); supported are \(Activation.names)")
        }
        return activation
    }
}
