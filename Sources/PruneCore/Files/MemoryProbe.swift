// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// Asks the system whether memory can be had, before Swift's own collections take it: those end the process where there
/// is none.
enum MemoryProbe {
    /// What allocations of a few pages find without being asked for.
    private static let free = 1 << 16

    /// Errors: `.memory` if the system would not give so much now.
    ///
    /// - Parameter purpose: how the error goes on: "to read x.json".
    static func require(_ bytes: Int, _ purpose: @autoclosure () -> String) throws(PruneError) {
        guard bytes > free else { return }
        // Not malloc: freeing a large piece changes from where it takes later ones.
        guard let start = mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
            start != MAP_FAILED
        else { throw PruneError(.memory, "could not allocate \(bytes) bytes \(purpose())") }
        munmap(start, bytes)
    }
}
