// SPDX-License-Identifier: Apache-2.0
/// Memory of a host that a model reads its weights from: the owner of tensors that are borrowed.
///
/// Whatever uses a tensor keeps this object alive. When the last user goes, on any thread, the host is told.
public final class LentMemory: Sendable {
    private let onReturn = Lock<(@Sendable () -> Void)?>(nil)

    public init() {}

    /// Has `tell` called when nothing uses the memory any more. Until then the host is told nothing: a model
    /// that could not be made has taken nothing over.
    public func whenReturned(_ tell: @escaping @Sendable () -> Void) {
        try? onReturn.withLock { $0 = tell }
    }

    deinit {
        if let tell = try? onReturn.withLock({ $0 }) { tell() }
    }
}
