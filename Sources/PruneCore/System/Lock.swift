// SPDX-License-Identifier: Apache-2.0
internal import CThreads

/// A value that one thread at a time reads or changes: the lock of everything that threads share here.
///
/// Made for hosts that fork. A brief lock is held for moments, and a fork waits for them. One that is held through a call
/// cannot be waited for: in a child that was forked meanwhile its value may be half changed, so it answers with an error there,
/// for ever. (The standard library's `Mutex` ends such a child: it asks the system about a thread that does not exist.)
public final class Lock<Value: Sendable>: @unchecked Sendable {
    private let lock: OpaquePointer?
    // Safe: this object owns the memory, and only who holds the lock follows the pointer.
    private let value: UnsafeMutablePointer<Value>
    private let isBrief: Bool

    /// - Parameter heldThroughCalls: whether `withLock` may take longer than moments, or wait for another lock.
    public init(_ value: Value, heldThroughCalls: Bool = false) {
        lock = lock_create()
        self.value = .allocate(capacity: 1)
        self.value.initialize(to: value)
        isBrief = !heldThroughCalls
    }

    deinit {
        // A value that a vanished thread was changing is left alone: taking it apart might follow what is half written.
        if !lock_is_lost(lock) || lock == nil {
            value.deinitialize(count: 1)
            value.deallocate()
        }
        lock_destroy(lock)
    }

    /// Runs `body` with the value to itself. Errors: those of `body`; `.handle` if a thread that does not exist in this process
    /// held the lock when the process was forked; `.memory` if there was none for the lock.
    public func withLock<Result>(
        _ body: (inout Value) throws(PruneError) -> Result
    ) throws(PruneError) -> Result {
        if isBrief { section_enter() }
        defer { if isBrief { section_leave() } }
        guard lock_take(lock) else {
            throw lock == nil
                ? PruneError(.memory, "there is no memory for a lock")
                : PruneError(
                    .handle,
                    "this object was being changed by another thread when the process was forked; make a new one in this process"
                )
        }
        defer { lock_release(lock) }
        return try body(&value.pointee)
    }
}
