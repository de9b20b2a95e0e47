// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// What the system says in small text files.
enum SystemText {
    static func words(_ line: String) -> [String] {
        line.split { $0 == " " || $0 == "\t" || $0 == "\n" }.map(String.init)
    }

    /// The lines of a small file without their ends; none if it cannot be read.
    static func lines(of path: String) -> [String] {
        guard let file = fopen(path, "re") else { return [] }
        defer { fclose(file) }
        var line: UnsafeMutablePointer<CChar>?
        var capacity = 0
        defer { free(line) }
        var lines: [String] = []
        while true {
            let length = getline(&line, &capacity, file)
            guard length > 0, let line else { return lines }
            // Ended as bytes: going through characters takes a hundred times as long. Safe: `length` bytes were read.
            if line[length - 1] == UInt8(ascii: "\n") { line[length - 1] = 0 }
            lines.append(String(cString: line))
        }
    }
}
