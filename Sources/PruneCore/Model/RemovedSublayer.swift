// SPDX-License-Identifier: Apache-2.0
/// What stays of a sublayer where a mask removes it: a norm that follows its sum, h -> norm(h + f(h)), becomes h -> norm(h).
public protocol RemovedSublayer {
    /// The hidden state after it.
    func apply(_ state: any HiddenState) throws(PruneError) -> any HiddenState

    /// The gradient with respect to the state before it, from that with respect to the state after it.
    func pullback(at state: any HiddenState, of gradient: any HiddenState) throws(PruneError) -> any HiddenState
}

extension Model {
    public func removed(_ sublayer: Int) -> (any RemovedSublayer)? { nil }

    public var givesNorms: Bool { false }
}
