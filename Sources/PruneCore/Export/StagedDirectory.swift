// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    internal import CRename
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// A directory that appears whole or not at all: its files are written to one beside it, which takes its name once the disk
/// has everything.
///
/// Where there was one before, the two change names in one step (`renameat2` with `RENAME_EXCHANGE`): at every moment the name
/// stands for the old one or for the new one. On file systems that cannot do that, replacing is refused.
///
/// What a killed process leaves beside it (see `PartialName`) goes with the next export of that name.
final class StagedDirectory {
    /// The directory as it will be called, without a slash at the end.
    let place: String
    /// Where its files are meanwhile.
    let path: String
    private let descriptor: Int32
    private var isDone = false
    private(set) var files: [StagedFile] = []

    /// A file that was written: its name in the directory, and what it holds.
    struct StagedFile {
        let name: String
        let byteCount: Int
        let checksum: String
    }

    /// Begins a directory. Errors: `.file`, with the system's reason.
    init(_ place: String) throws(PruneError) {
        self.place = place
        PartialName.clean(beside: place, opening: O_RDONLY | O_DIRECTORY, Self.remove)
        for _ in 0..<PartialName.mostAttempts {
            let path = PartialName.random(beside: place)
            guard mkdir(path, 0o777) == 0 else {
                guard errno == EEXIST || errno == EINTR else { throw MappedFile.failure(place, errno) }
                continue
            }
            let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
            guard descriptor >= 0 else {
                let reason = errno
                rmdir(path)
                if reason == ENOENT { continue }
                throw MappedFile.failure(place, reason)
            }
            if PartialName.claim(descriptor) {
                self.path = path
                self.descriptor = descriptor
                return
            }
            close(descriptor)
        }
        throw PruneError(.file, "\(place): no directory could be made beside it")
    }

    deinit {
        if !isDone { Self.remove(path) }
        close(descriptor)
    }

    /// Writes a file of the directory, which must be new: what `body` appends. Errors: `.file`; those of `body`.
    ///
    /// - Parameter name: a plain name, or one in a directory below.
    func write(_ name: String, _ body: (AtomicFile.Append) throws(PruneError) -> Void) throws(PruneError) {
        let file = path + "/" + name
        if name.contains("/"), mkdir(AtomicFile.parent(of: file), 0o777) != 0, errno != EEXIST {
            throw failure(name, errno)
        }
        let descriptor = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else { throw failure(name, errno) }
        var isOpen = true
        defer { if isOpen { close(descriptor) } }
        var digest = SHA256()
        var count = 0
        try body { (bytes) throws(PruneError) in
            digest.update(bytes)
            count += bytes.count
            try AtomicFile.append(bytes, to: descriptor, place + "/" + name)
        }
        guard fsync(descriptor) == 0 else { throw failure(name, errno) }
        isOpen = false
        // The system may tell of a full disk as late as here.
        guard close(descriptor) == 0 else { throw failure(name, errno) }
        files.append(StagedFile(name: name, byteCount: count, checksum: digest.hexadecimal))
    }

    func write(_ name: String, _ bytes: [UInt8]) throws(PruneError) {
        try write(name) { (append) throws(PruneError) in try SafetensorsWriter.write(bytes, append) }
    }

    /// Gives the directory its name.
    ///
    /// - Parameter replaces: whether there is one that goes.
    /// Errors: `.file`, with the system's reason; everything is as it was then.
    func finish(replacing replaces: Bool) throws(PruneError) {
        for name in Set(files.filter { $0.name.contains("/") }.map { AtomicFile.parent(of: path + "/" + $0.name) }) {
            AtomicFile.syncDirectory(of: name + "/.")
        }
        guard fsync(descriptor) == 0 || errno == EINVAL else { throw MappedFile.failure(place, errno) }
        guard rename(exchanging: replaces) == 0 else {
            let reason = errno
            guard replaces, reason == EINVAL || reason == ENOSYS else { throw MappedFile.failure(place, reason) }
            throw PruneError(
                .file,
                "\(place): this file system cannot exchange two directories; move the old one away and export again")
        }
        isDone = true
        AtomicFile.syncDirectory(of: place)
        // Now it is the old one that has the other name. If this is cut short, the next export ends it.
        if replaces { Self.remove(path) }
    }

    /// 0, or -1 with `errno`.
    private func rename(exchanging: Bool) -> Int32 {
        #if canImport(Darwin)
            return renamex_np(path, place, UInt32(exchanging ? RENAME_SWAP : RENAME_EXCL))
        #else
            let flags = exchanging ? PRUNE_RENAME_EXCHANGE : PRUNE_RENAME_NOREPLACE
            let status = renameat2(AT_FDCWD, path, AT_FDCWD, place, UInt32(flags))
            guard status != 0, !exchanging, errno == EINVAL || errno == ENOSYS else { return status }
            // An empty directory that appeared meanwhile would be replaced, and nothing else.
            return renamePath(path, place)
        #endif
    }

    private func failure(_ name: String, _ code: Int32) -> PruneError { MappedFile.failure(place + "/" + name, code) }

    /// Removes a directory of files, and of directories of files. What cannot be removed stays.
    private static func remove(_ path: String) {
        for name in Folder.names(in: path) {
            let file = path + "/" + name
            if unlink(file) != 0 {
                for inner in Folder.names(in: file) { unlink(file + "/" + inner) }
                rmdir(file)
            }
        }
        rmdir(path)
    }
}

/// The system's own call, which inside `StagedDirectory` would not be found for its name.
private func renamePath(_ old: String, _ new: String) -> Int32 { rename(old, new) }
