// SPDX-License-Identifier: Apache-2.0
extension Memory {
    /// Bytes of memory that this process can have without swapping; 4 GiB where the system does not say.
    ///
    /// The least of what the system has left and what the limits of the process's control groups leave. Pages of files that
    /// are kept in memory count as free.
    public static var free: Int {
        let system = number(in: "/proc/meminfo", after: "MemAvailable:").map { $0 << 10 } ?? 4 << 30
        return controlGroups.reduce(system) { min($0, $1.free ?? $0) }
    }

    /// The memory of the machine, or the limit of the process's control groups where that is less, when this is first asked.
    static let limit: Int = {
        let system = number(in: "/proc/meminfo", after: "MemTotal:").map { $0 << 10 } ?? 4 << 30
        return controlGroups.reduce(system) { min($0, $1.limit ?? $0) }
    }()

    /// The same with what can be swapped out: more than this cannot be had in one piece, or at all.
    static let most: Int = limit.plus(
        clamping: number(in: "/proc/meminfo", after: "SwapTotal:").map { $0.times(clamping: 1 << 10) } ?? 0)

    /// A control group that may limit the memory of this process.
    private struct ControlGroup {
        let limit: Int?
        /// Memory of its processes that is not a file's.
        let used: Int?

        var free: Int? {
            guard let limit, let used else { return nil }
            return max(0, limit - used)
        }
    }

    /// The control groups of the process, where they can be read: version 2 with all above it, or that of version 1.
    private static var controlGroups: [ControlGroup] {
        var groups: [ControlGroup] = []
        for line in SystemText.lines(of: "/proc/self/cgroup") {
            let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count == 3 else { continue }
            if parts[1].split(separator: ",").contains("memory") {
                // Inside a container its own group is mounted as the root.
                for directory in ["/sys/fs/cgroup/memory\(parts[2])", "/sys/fs/cgroup/memory"] {
                    let statistics = directory + "/memory.stat"
                    guard let limit = number(in: statistics, after: "hierarchical_memory_limit") else { continue }
                    groups.append(ControlGroup(limit: limit, used: number(in: statistics, after: "total_rss")))
                    break
                }
            } else if parts[1].isEmpty {
                var path = parts[2]
                while true {
                    let directory = "/sys/fs/cgroup\(path)"
                    groups.append(
                        ControlGroup(
                            limit: number(in: directory + "/memory.max", after: ""),
                            used: number(in: directory + "/memory.stat", after: "anon")))
                    guard let slash = path.lastIndex(of: "/") else { break }
                    path = path[..<slash]
                }
            }
        }
        return groups
    }

    /// The number that follows a word at the start of a line of a file; nil if there is none.
    private static func number(in path: String, after word: String) -> Int? {
        for line in SystemText.lines(of: path) where line.hasPrefix(word) {
            let words = SystemText.words(line)
            if word.isEmpty { return words.first.flatMap { Int($0) } }
            if words.first == word { return words.dropFirst().first.flatMap { Int($0) } }
        }
        return nil
    }
}
