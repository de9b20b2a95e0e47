// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// Asks whether memory can be had before it is taken.
///
/// Swift ends the process where an array or a string finds no memory. So whatever has a size that a caller or a file decides
/// is asked for here first: as address space, which the limits of the process count, and which costs nothing until it is
/// written to. The calls of the C interface ask for the reserve alone as they begin.
public enum Memory {
    /// Bytes that have to be left beside what is asked for: a call makes many small things of which nobody asks.
    public static let reserve = 8 << 20

    /// Proves that an array, or several together, of `bytes` can be made.
    ///
    /// - Parameters:
    ///   - bytes: what is wanted at the same time, copies and growth included.
    ///   - what: what it is for, "4096 masks".
    ///   - remedy: what to do, "evaluate fewer at a time".
    /// Errors: `.memory`, also where the machine or its control group has less in all.
    public static func require(
        _ bytes: Int, for what: @autoclosure () -> String, _ remedy: @autoclosure () -> String
    ) throws(PruneError) {
        guard !canHave(bytes) else { return }
        throw PruneError(.memory, "\(text(bytes)) of memory for \(what()) cannot be had; \(remedy())")
    }

    /// Proves that a call may begin. Errors: `.memory`, in a sentence that needs no memory itself.
    public static func requireReserve() throws(PruneError) {
        guard canHave(0) else {
            throw PruneError(
                .memory, "less than 8 MiB of memory can be had; raise the limit of the process, or free some")
        }
    }

    /// Whether `bytes` and the reserve can be had now.
    static func canHave(_ bytes: Int) -> Bool {
        let (total, overflow) = bytes.addingReportingOverflow(reserve)
        guard bytes >= 0, !overflow else { return false }
        // The system grants address space beyond the memory that there is, and ends processes when it is used.
        guard bytes < 1 << 26 || bytes <= most else { return false }
        let place = mmap(nil, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0)
        guard let place, place != MAP_FAILED else { return false }
        munmap(place, total)
        return true
    }

    /// A size as people read it.
    private static func text(_ bytes: Int) -> String { bytes < 1 << 20 ? "\(bytes) bytes" : "\(bytes >> 20) MiB" }
}

extension Array {
    /// Makes room for `more` elements before they are appended, twice as much as there was where it has to grow, so that
    /// appending one by one stays linear. Errors: `.memory`.
    public mutating func makeRoom(
        for more: Int, of what: @autoclosure () -> String, _ remedy: @autoclosure () -> String
    ) throws(PruneError) {
        let needed = count.plus(clamping: more)
        guard needed > capacity else { return }
        let larger = Swift.max(needed, count.times(clamping: 2))
        try Memory.require(larger.times(clamping: MemoryLayout<Element>.stride), for: what(), remedy())
        reserveCapacity(larger)
    }
}
