// SPDX-License-Identifier: Apache-2.0
/// A value that a host holds: it may be read while a call works with it.
public final class Shared<Value: Sendable>: Sendable {
    private let value: Lock<Value>

    public init(_ value: Value) { self.value = Lock(value, heldThroughCalls: true) }

    /// Runs `body` with the value to itself. Errors: those of `body`; those of `Lock.withLock`.
    public func with<Result: Sendable>(
        _ body: (inout Value) throws(PruneError) -> Result
    ) throws(PruneError) -> Result {
        try value.withLock(body)
    }
}
