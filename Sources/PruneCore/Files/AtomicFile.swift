// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// A file that is written whole or not at all: a reader of its path finds what was there before, or all of the new one,
/// whenever the process or the machine stops. What a killed process leaves beside it goes with the next write.
enum AtomicFile {
    /// Adds bytes at the end of the file that is being written. Errors: `.file`.
    typealias Append = (UnsafeRawBufferPointer) throws(PruneError) -> Void

    /// Writes what `body` appends: to a file beside `path`, which takes the place of `path` once the disk has it.
    ///
    /// A link at `path` stays, and the file it names is replaced. What `body` throws leaves everything as it was.
    /// Errors: `.file`, with the system's reason; those of `body`.
    static func write(to path: String, _ body: (Append) throws(PruneError) -> Void) throws(PruneError) {
        let place = try target(of: path)
        PartialName.clean(beside: place, opening: O_WRONLY | O_NONBLOCK) { unlink($0) }
        let (descriptor, beside) = try create(beside: place)
        var isWhole = false
        defer {
            if !isWhole { unlink(beside) }
            close(descriptor)
        }
        try body { (bytes) throws(PruneError) in try append(bytes, to: descriptor, place) }
        // The system tells of a full disk as late as here.
        guard fsync(descriptor) == 0 else { throw MappedFile.failure(path, errno) }
        // Still open, and so still locked: nobody takes it for left behind.
        guard rename(beside, place) == 0 else { throw MappedFile.failure(path, errno) }
        isWhole = true
        syncDirectory(of: place)
    }

    /// Writes some bytes. Errors: `.file`, with the system's reason.
    static func write(_ bytes: [UInt8], to path: String) throws(PruneError) {
        try write(to: path) { (append) throws(PruneError) in
            var failure: PruneError?
            bytes.withUnsafeBytes { bytes in
                do throws(PruneError) { try append(bytes) } catch { failure = error }
            }
            if let failure { throw failure }
        }
    }

    /// The file that is to be replaced: `path`, or what it links to. Errors: `.file` if something else than a file is there.
    private static func target(of path: String) throws(PruneError) -> String {
        guard !path.isEmpty, !path.utf8.contains(0) else {
            throw PruneError(.file, "\(path.quoted): a path cannot be empty or contain a NUL character")
        }
        guard MappedFile.exists(path) else { return path }
        var status = stat()
        guard stat(path, &status) == 0 else { throw MappedFile.failure(path, errno) }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw PruneError(.file, "\(path): what is there is not a regular file; give another path")
        }
        guard let resolved = realpath(path, nil) else { throw MappedFile.failure(path, errno) }
        defer { free(resolved) }
        return String(cString: resolved)
    }

    /// A new, empty file in the same directory: only there can it be renamed.
    private static func create(beside path: String) throws(PruneError) -> (descriptor: Int32, path: String) {
        for _ in 0..<PartialName.mostAttempts {
            let beside = PartialName.random(beside: path)
            let descriptor = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
            guard descriptor >= 0 || errno == EEXIST || errno == EINTR else { throw MappedFile.failure(path, errno) }
            guard descriptor >= 0 else { continue }
            if PartialName.claim(descriptor) { return (descriptor, beside) }
            close(descriptor)
        }
        throw PruneError(.file, "\(path): no file could be made beside it")
    }

    /// Writes bytes, all of them. Errors: `.file`, with the system's reason and `path`.
    static func append(
        _ bytes: UnsafeRawBufferPointer, to descriptor: Int32, _ path: String
    ) throws(PruneError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = writeSome(UnsafeRawBufferPointer(rebasing: rest), to: descriptor)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw MappedFile.failure(path, errno) }
            rest = rest.dropFirst(count)
        }
    }

    /// Makes the rename last. Some file systems cannot: the file is whole all the same.
    static func syncDirectory(of path: String) {
        let directory = parent(of: path)
        let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        fsync(descriptor)
        close(descriptor)
    }
}

extension AtomicFile {
    /// The directory that a path is in.
    static func parent(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }
}

/// The system's own call, which inside `AtomicFile` would not be found for its name. The bytes are the caller's for the
/// length of the call.
private func writeSome(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32) -> Int {
    write(descriptor, bytes.baseAddress, bytes.count)
}
