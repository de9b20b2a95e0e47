// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// The names under which files and directories lie beside their place until they are whole: NAME.XXXXXXXX.partial.
///
/// Whoever writes one holds a lock on it. What a killed process left has none, and the next to write to that place takes it
/// away. Where the file system has no locks nobody can tell, and it stays.
enum PartialName {
    private static let ending = ".partial"

    /// Names that are tried before it is an error that none could be had.
    static let mostAttempts = 100

    private enum Lock {
        /// Nobody else had it.
        case had
        case taken
        /// The file system has no locks.
        case unknown
    }

    /// Bytes of NAME at most: what file systems allow is 255.
    private static let mostBytes = 255 - ".XXXXXXXX.partial".utf8.count

    /// The last part of a place, cut to what leaves room for the rest.
    private static func stem(of place: String) -> Substring {
        var stem = place.split(separator: "/", omittingEmptySubsequences: true).last ?? ""
        while stem.utf8.count > mostBytes { stem.removeLast() }
        return stem
    }

    /// A new name beside a place, with random digits.
    static func random(beside place: String) -> String {
        let stem = stem(of: place)
        var random = SystemRandomNumberGenerator()
        return "\(place[..<stem.endIndex]).\(String(random.next() as UInt32, radix: 16))\(ending)"
    }

    /// Locks what was just made, so that nobody takes it for left behind.
    ///
    /// - Returns: false if somebody did, before it could be locked: it is gone, or goes.
    static func claim(_ descriptor: Int32) -> Bool {
        guard lock(descriptor) != .taken else { return false }
        var status = stat()
        return fstat(descriptor, &status) == 0 && status.st_nlink > 0
    }

    /// Takes away what killed processes left beside a place.
    ///
    /// - Parameters:
    ///   - flags: with which `open` takes what is to go, and nothing else.
    ///   - remove: takes away what has this path.
    static func clean(beside place: String, opening flags: Int32, _ remove: (_ path: String) -> Void) {
        let parent = AtomicFile.parent(of: place)
        let stem = stem(of: place) + "."
        for name in Folder.names(in: parent) where name.hasPrefix(stem) && name.hasSuffix(ending) {
            let digits = name.dropFirst(stem.count).dropLast(ending.count)
            guard (1...8).contains(digits.count), digits.allSatisfy(\.isHexDigit) else { continue }
            let path = parent + "/" + name
            let descriptor = open(path, flags | O_NOFOLLOW | O_CLOEXEC)
            guard descriptor >= 0 else { continue }
            if lock(descriptor) == .had { remove(path) }
            close(descriptor)
        }
    }

    private static func lock(_ descriptor: Int32) -> Lock {
        if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { return .had }
        return errno == EWOULDBLOCK ? .taken : .unknown
    }
}
