// SPDX-License-Identifier: Apache-2.0
internal import Synchronization

/// A value that a host holds: it may be read while a call works with it.
public final class Shared<Value: Sendable>: Sendable {
    private let value: Mutex<Value>

    public init(_ value: Value) { self.value = Mutex(value) }

    /// Runs `body` with the value to itself. Errors: those of `body`.
    public func with<Result: Sendable>(
        _ body: (inout Value) throws(PruneError) -> Result
    ) throws(PruneError) -> Result {
        var outcome: Swift.Result<Result, PruneError>?
        value.withLock { value in
            do throws(PruneError) { outcome = .success(try body(&value)) } catch { outcome = .failure(error) }
        }
        guard let outcome else { throw PruneError(.internal, "a shared value was not reached") }
        return try outcome.get()
    }
}
