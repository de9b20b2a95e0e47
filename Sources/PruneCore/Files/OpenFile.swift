// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// What tells one state of a file from another.
struct FileStamp: Equatable {
    let device: UInt64
    let inode: UInt64
    let size: Int
    /// When it was last written to.
    let seconds: Int
    let nanoseconds: Int

    /// nil for a size that no memory holds.
    init?(_ status: stat) {
        guard let size = Int(exactly: status.st_size) else { return nil }
        device = UInt64(truncatingIfNeeded: status.st_dev)
        inode = UInt64(truncatingIfNeeded: status.st_ino)
        self.size = size
        #if canImport(Darwin)
            (seconds, nanoseconds) = (status.st_mtimespec.tv_sec, status.st_mtimespec.tv_nsec)
        #else
            (seconds, nanoseconds) = (status.st_mtim.tv_sec, status.st_mtim.tv_nsec)
        #endif
    }
}

/// A regular file, open for reading, and how it was when it was opened. The descriptor belongs to that file whatever
/// becomes of its path.
final class OpenFile: @unchecked Sendable {
    let path: String
    let stamp: FileStamp
    /// -1 once it is closed.
    private(set) var descriptor: Int32

    /// Errors: `.file`, with the system's reason, if it is missing, unreadable, no regular file, or a pointer of Git LFS.
    init(_ path: String) throws(PruneError) {
        guard !path.utf8.contains(0) else {
            throw PruneError(.file, "\(path.quoted): a path cannot contain a NUL character")
        }
        self.path = path
        // Without O_NONBLOCK, opening a named pipe would wait for a writer.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw MappedFile.failure(path, errno) }
        do throws(PruneError) { stamp = try Self.stamp(of: descriptor, path) } catch {
            _ = closeDescriptor(descriptor)
            throw error
        }
        self.descriptor = descriptor
        if isPointer {
            close()
            throw PruneError(
                .file,
                "\(path): the file is a pointer of Git LFS, not the file itself; run \"git lfs pull\" in its repository"
            )
        }
    }

    /// Whether a clone without Git LFS left its note of some 130 bytes in the place of the file.
    private var isPointer: Bool {
        let mark = "version https://git-lfs.github.com/spec/"
        guard (mark.utf8.count...1024).contains(stamp.size) else { return false }
        let begin = [UInt8](unsafeUninitializedCapacity: mark.utf8.count) { room, count in
            count = max(0, pread(descriptor, room.baseAddress, mark.utf8.count, 0))
        }
        return begin.elementsEqual(mark.utf8)
    }

    deinit { close() }

    /// For whoever has the file to himself, and has read it.
    func close() {
        if descriptor >= 0 { _ = closeDescriptor(descriptor) }
        descriptor = -1
    }

    private static func stamp(of descriptor: Int32, _ path: String) throws(PruneError) -> FileStamp {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw MappedFile.failure(path, errno) }
        switch status.st_mode & S_IFMT {
        case S_IFREG: break
        case S_IFDIR: throw MappedFile.failure(path, EISDIR)
        default: throw PruneError(.file, "\(path): not a regular file")
        }
        guard let stamp = FileStamp(status) else { throw PruneError(.file, "\(path): the file is too large") }
        return stamp
    }

    /// Errors: `.file` if the file is not as it was when it was opened.
    func checkUnchanged() throws(PruneError) {
        let now = try Self.stamp(of: descriptor, path)
        guard now == stamp else {
            let what = now.size == stamp.size ? "was written to" : "has \(now.size) bytes where it had \(stamp.size)"
            throw PruneError(
                .file,
                "\(path): the file \(what) since it was opened; open it again, and write new files beside old ones")
        }
    }

    /// Reads bytes from `offset` on, as many as there is room for.
    ///
    /// Errors: `.file`, with the system's reason, or if the file changed.
    func read(_ offset: Int, into room: UnsafeMutableRawBufferPointer) throws(PruneError) {
        var done = 0
        while done < room.count, let base = room.baseAddress {
            let count = pread(descriptor, base + done, room.count - done, off_t(offset + done))
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw MappedFile.failure(path, errno) }
            guard count > 0 else { break }
            done += count
        }
        try checkUnchanged()
        guard done == room.count else { throw PruneError(.file, "\(path): the file ended while it was read") }
    }
}

/// The system's own call, which inside a type with a method of that name would not be found.
private func closeDescriptor(_ descriptor: Int32) -> Int32 { close(descriptor) }
