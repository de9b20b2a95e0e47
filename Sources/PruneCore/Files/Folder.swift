// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// What is in a directory.
enum Folder {
    /// The entries of a directory, sorted; none if it cannot be read.
    static func names(in directory: String) -> [String] {
        guard !directory.utf8.contains(0), let stream = opendir(directory) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            // Safe: the system ends the name with a NUL inside the entry, which lives until the next call.
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                UnsafeRawPointer($0).withMemoryRebound(to: CChar.self, capacity: 1) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }
}
