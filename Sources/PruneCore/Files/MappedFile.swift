// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    import Glibc
#endif

/// A regular file mapped into memory, read-only, for as long as the object lives.
///
/// Nothing is read until it is touched. The file must not shrink meanwhile: touching a page that is gone raises SIGBUS.
final class MappedFile: @unchecked Sendable {
    let path: String
    let bytes: UnsafeRawBufferPointer

    /// Maps the file at `path`.
    ///
    /// Errors: `.file`, with the system's reason, if it is missing, unreadable, or no regular file; `.format` if it is
    /// empty.
    init(path: String) throws(PruneError) {
        guard !path.utf8.contains(0) else {
            throw PruneError(.file, "\(path.quoted): a path cannot contain a NUL character")
        }
        // Without O_NONBLOCK, opening a named pipe would wait for a writer.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw Self.failure(path, errno) }
        defer { close(descriptor) }

        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw Self.failure(path, errno) }
        switch status.st_mode & S_IFMT {
        case S_IFREG: break
        case S_IFDIR: throw Self.failure(path, EISDIR)
        default: throw PruneError(.file, "\(path): not a regular file")
        }
        guard status.st_size > 0, let size = Int(exactly: status.st_size) else {
            throw PruneError(.format, "\(path): the file is empty")
        }
        guard let start = mmap(nil, size, PROT_READ, MAP_PRIVATE, descriptor, 0), start != MAP_FAILED else {
            throw Self.failure(path, errno)
        }
        self.path = path
        bytes = UnsafeRawBufferPointer(start: start, count: size)
    }

    deinit {
        munmap(UnsafeMutableRawPointer(mutating: bytes.baseAddress), bytes.count)
    }

    /// Asks the system to read a part of the file soon, in the background. No more than advice: nothing fails.
    func willNeed(_ part: UnsafeRawBufferPointer) {
        guard let start = part.baseAddress, !part.isEmpty else { return }
        let offset = Int(bitPattern: start) % Self.pageSize
        madvise(UnsafeMutableRawPointer(mutating: start - offset), part.count + offset, MADV_WILLNEED)
    }

    /// Lets the pages of a part go that was read and is not needed soon: they count as this process's memory, and can be
    /// read again. No more than advice.
    func doesNotNeed(_ part: UnsafeRawBufferPointer) {
        guard let start = part.baseAddress else { return }
        // Whole pages alone: what is beside the part may be in use.
        let lead = (Self.pageSize - Int(bitPattern: start) % Self.pageSize) % Self.pageSize
        let count = (part.count - lead) / Self.pageSize * Self.pageSize
        guard count > 0 else { return }
        madvise(UnsafeMutableRawPointer(mutating: start + lead), count, MADV_DONTNEED)
    }

    private static let pageSize = sysconf(Int32(_SC_PAGESIZE))

    /// The whole file as an array, for text.
    ///
    /// Errors: as `init`, and `.format` if it has more than `limit` bytes.
    static func read(_ path: String, limit: Int) throws(PruneError) -> [UInt8] {
        let file = try MappedFile(path: path)
        guard file.bytes.count <= limit else {
            throw PruneError(.format, "\(path): the file has \(file.bytes.count) bytes; at most \(limit) are read")
        }
        return [UInt8](file.bytes)
    }

    /// Whether a directory entry of that name exists, a dangling link included. A NUL in the path never exists.
    static func exists(_ path: String) -> Bool {
        var status = stat()
        return !path.utf8.contains(0) && lstat(path, &status) == 0
    }

    /// Errors: `.file` if `path` is not a directory that can be looked up.
    static func requireDirectory(_ path: String) throws(PruneError) {
        guard !path.utf8.contains(0) else {
            throw PruneError(.file, "\(path.quoted): a path cannot contain a NUL character")
        }
        var status = stat()
        guard stat(path, &status) == 0 else { throw failure(path, errno) }
        guard status.st_mode & S_IFMT == S_IFDIR else {
            throw PruneError(.file, "\(path): not a directory; give the directory that holds config.json")
        }
    }

    /// What the system says of a path, as an error. `code`: an `errno`.
    static func failure(_ path: String, _ code: Int32) -> PruneError {
        let reason = strerror(code).map { String(cString: $0) } ?? "error \(code)"
        return PruneError(.file, "\(path.isEmpty ? "(empty path)" : path): \(reason)")
    }
}
