// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    import Glibc
#endif

/// Where the bytes of a file are while it is in use.
public enum FileResidence: Sendable {
    /// In the file, mapped: nothing is read until it is touched.
    case mapped
    /// In memory of this process: the file may change, or go.
    case memory
}

/// The bytes of a regular file, read-only, for as long as the object lives.
///
/// A mapped file is kept open. One that another takes the place of, or that is deleted, stays as it was; one that is cut
/// short or written over in place does not: touching a page that is gone raises SIGBUS. `checkUnchanged` finds that out,
/// and has to be asked before bytes are read and after: only what changes between the two goes unseen.
final class MappedFile: @unchecked Sendable {
    let path: String
    let bytes: UnsafeRawBufferPointer
    private let file: OpenFile
    private let residence: FileResidence

    var isMapped: Bool { residence == .mapped }

    /// Errors: `.file`, with the system's reason, if it is missing, unreadable, no regular file, or changed while it was
    /// read; `.format` if it is empty; `.memory`.
    init(path: String, _ residence: FileResidence = .mapped) throws(PruneError) {
        file = try OpenFile(path)
        let size = file.stamp.size
        guard size > 0 else { throw PruneError(.format, "\(path): the file is empty") }
        let start =
            switch residence {
            case .mapped: mmap(nil, size, PROT_READ, MAP_PRIVATE, file.descriptor, 0)
            case .memory: mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
            }
        guard let start, start != MAP_FAILED else {
            guard residence == .mapped, errno != ENOMEM else {
                throw PruneError(.memory, "\(path): there is no memory for its \(size) bytes")
            }
            throw Self.failure(path, errno)
        }
        self.path = path
        self.residence = residence
        bytes = UnsafeRawBufferPointer(start: start, count: size)
        guard residence == .memory else { return }
        // From here on the object is whole, and gives its memory back if reading throws.
        try file.read(0, into: UnsafeMutableRawBufferPointer(start: start, count: size))
        file.close()
    }

    deinit {
        munmap(UnsafeMutableRawPointer(mutating: bytes.baseAddress), bytes.count)
    }

    /// Errors: `.file`, naming the file, if it was written to or cut since it was opened.
    func checkUnchanged() throws(PruneError) {
        if isMapped { try file.checkUnchanged() }
    }

    /// Asks the system to read a part of the file soon, in the background. No more than advice: nothing fails.
    func willNeed(_ part: UnsafeRawBufferPointer) {
        guard isMapped, let start = part.baseAddress, !part.isEmpty else { return }
        let offset = Int(bitPattern: start) % Self.pageSize
        madvise(UnsafeMutableRawPointer(mutating: start - offset), part.count + offset, MADV_WILLNEED)
    }

    /// Lets the pages of a part go that was read and is not needed soon: they count as this process's memory, and can be
    /// read again. No more than advice.
    func doesNotNeed(_ part: UnsafeRawBufferPointer) {
        guard isMapped, let start = part.baseAddress else { return }
        // Whole pages alone: what is beside the part may be in use.
        let lead = (Self.pageSize - Int(bitPattern: start) % Self.pageSize) % Self.pageSize
        let count = (part.count - lead) / Self.pageSize * Self.pageSize
        guard count > 0 else { return }
        madvise(UnsafeMutableRawPointer(mutating: start + lead), count, MADV_DONTNEED)
    }

    private static let pageSize = sysconf(Int32(_SC_PAGESIZE))

    /// The whole file as an array, for text. It is read, not mapped.
    ///
    /// Errors: as `init`, and `.format` if it has more than `limit` bytes.
    static func read(_ path: String, limit: Int) throws(PruneError) -> [UInt8] {
        let file = try OpenFile(path)
        let size = file.stamp.size
        guard size > 0 else { throw PruneError(.format, "\(path): the file is empty") }
        guard size <= limit else {
            throw PruneError(.format, "\(path): the file has \(size) bytes; at most \(limit) are read")
        }
        try Memory.require(size, for: "\(path)", "free some memory")
        var failure: PruneError?
        let content = [UInt8](unsafeUninitializedCapacity: size) { room, count in
            let bytes = UnsafeMutableRawBufferPointer(start: room.baseAddress, count: size)
            do throws(PruneError) { try file.read(0, into: bytes) } catch { failure = error }
            count = failure == nil ? size : 0
        }
        if let failure { throw failure }
        return content
    }

    /// Hands the bytes of a file on in pieces. It is read, not mapped; an empty file has none.
    ///
    /// Errors: `.file`, as `init`; those of `append`.
    static func copy(_ path: String, _ append: AtomicFile.Append) throws(PruneError) {
        let file = try OpenFile(path)
        let piece = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 16)
        defer { piece.deallocate() }
        for begin in stride(from: 0, to: file.stamp.size, by: piece.count) {
            let own = UnsafeMutableRawBufferPointer(rebasing: piece[..<min(piece.count, file.stamp.size - begin)])
            try file.read(begin, into: own)
            try append(UnsafeRawBufferPointer(own))
        }
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
