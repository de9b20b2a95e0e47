// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// Memory for `capacity` floats, owned by whoever holds it.
private struct FloatMemory: @unchecked Sendable {
    let pointer: UnsafeMutablePointer<Float>
    let capacity: Int

    /// Errors: `.memory` if there is none, with the size wanted.
    init(_ count: Int) throws(PruneError) {
        let bytes = max(count, 1).times(clamping: MemoryLayout<Float>.stride)
        // An eighth more, because what a batch needs besides its states is arrays of its rows.
        try Memory.require(
            count < 0 ? .max : bytes.plus(clamping: bytes / 8), for: "\(count) floats", "use fewer tokens per batch")
        var raw: UnsafeMutableRawPointer?
        guard posix_memalign(&raw, 64, bytes) == 0, let raw else {
            throw PruneError(.memory, "\(count) floats cannot be had; use fewer tokens per batch")
        }
        pointer = raw.bindMemory(to: Float.self, capacity: max(count, 1))
        capacity = max(count, 1)
    }
}

/// Owner of fp32 memory, aligned to cache lines and not initialised. Goes back to its pool with its last reference.
public final class FloatBuffer: @unchecked Sendable {
    public let count: Int
    private let memory: FloatMemory
    private weak let pool: BufferPool?

    fileprivate init(_ memory: FloatMemory, count: Int, pool: BufferPool) {
        self.memory = memory
        self.count = count
        self.pool = pool
    }

    /// A buffer of its own. Errors: `.memory`.
    init(count: Int) throws(PruneError) {
        memory = try FloatMemory(count)
        self.count = count
        pool = nil
    }

    deinit {
        if let pool { pool.takeBack(memory) } else { free(memory.pointer) }
    }

    var pointer: UnsafeMutablePointer<Float> { memory.pointer }

    /// The same memory as count / 2 doubles. Safe: it is aligned to cache lines, and a buffer's owner uses it as the one or
    /// the other only, writing before reading.
    var doubles: UnsafeMutablePointer<Double> {
        UnsafeMutableRawPointer(memory.pointer).bindMemory(to: Double.self, capacity: count / 2)
    }

    /// Copies the values to memory that has room for `count` of them.
    public func copy(to out: UnsafeMutablePointer<Float>) {
        out.update(from: memory.pointer, count: count)
    }
}

/// Keeps buffers for reuse: fresh pages cost as much as the arithmetic of a small layer.
///
/// Holds at most `limit` bytes that nobody uses, and gives them all back with the model that owns the pool.
public final class BufferPool: Sendable {
    private struct Idle {
        var memories: [FloatMemory] = []
        var floats = 0
    }

    private let idle = Lock(Idle())
    private let limit: Int

    init(limit: Int = 256 << 20) { self.limit = limit / MemoryLayout<Float>.stride }

    deinit {
        try? idle.withLock { idle in
            for memory in idle.memories { free(memory.pointer) }
        }
    }

    /// A buffer of `count` floats, not initialised. Errors: `.memory`.
    func buffer(_ count: Int) throws(PruneError) -> FloatBuffer {
        let found = try idle.withLock { idle -> FloatMemory? in
            // Memory up to twice as large as asked for will do.
            guard let place = idle.memories.lastIndex(where: { $0.capacity >= count && $0.capacity / 2 <= count })
            else {
                return nil
            }
            let memory = idle.memories.remove(at: place)
            idle.floats -= memory.capacity
            return memory
        }
        if let found { return FloatBuffer(found, count: count, pool: self) }
        return FloatBuffer(try FloatMemory(count), count: count, pool: self)
    }

    fileprivate func takeBack(_ memory: FloatMemory) {
        try? idle.withLock { idle in
            idle.memories.append(memory)
            idle.floats += memory.capacity
            // The memory that was idle longest goes first: its size may not be asked for again.
            while idle.floats > limit {
                let oldest = idle.memories.removeFirst()
                idle.floats -= oldest.capacity
                free(oldest.pointer)
            }
        }
    }
}
