// SPDX-License-Identifier: Apache-2.0
/// The modules of one sublayer in a block, as they are called in memory; tensors of a mixture may have other names.
struct SublayerModules: Sendable {
    /// Run one after the other: the attention, or what the feed-forward is made of.
    var modules: [String]
    /// Others that read what those read, and whose updates are added to theirs.
    var besides: [String] = []
    /// The pre-norm; nil = none.
    var before: String?
    /// The pre-norm of blocks that have it, in the place of the other.
    var beforeInstead: String?
    /// The norm of the update; nil = none.
    var after: String?
    /// Whether the last module takes the hidden state, too, and gives the sum with the update.
    var addsInput = false
}
