// SPDX-License-Identifier: Apache-2.0
import CPruneCore
import PruneCore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// A text of which each thread has its own.
struct ThreadText: Sendable {
    private let key: pthread_key_t

    init() {
        var key = pthread_key_t()
        pthread_key_create(&key) { free($0) }
        self.key = key
    }

    func set(_ text: String?) {
        free(pthread_getspecific(key))
        pthread_setspecific(key, text.flatMap { strdup($0) })
    }

    /// Borrowed until this thread sets another; nil if there is none.
    var pointer: UnsafePointer<CChar>? {
        pthread_getspecific(key).map { UnsafePointer($0.assumingMemoryBound(to: CChar.self)) }
    }

    /// The text, which is then gone.
    func take() -> String? {
        guard let pointer else { return nil }
        let text = String(cString: pointer)
        set(nil)
        return text
    }
}

/// The text of the last failed call, one per thread.
enum LastError {
    private static let text = ThreadText()
    private static let none = LentString("")

    static func set(_ message: String) { text.set(message) }

    static var pointer: UnsafePointer<CChar> { text.pointer ?? none.pointer }
}

/// Runs the body of an exported function; a failure becomes its status, and the text of `prune_last_error`.
func guarded(_ body: () throws(PruneError) -> Void) -> prune_status {
    do throws(PruneError) {
        try body()
        return prune_status(PRUNE_OK)
    } catch {
        LastError.set(error.message)
        return error.kind.rawValue
    }
}

/// Errors: `.argument` if `pointer` is NULL.
func need<Pointer>(_ pointer: Pointer?, _ name: String) throws(PruneError) -> Pointer {
    guard let pointer else { throw PruneError(.argument, "\(name) is NULL") }
    return pointer
}

/// Checks that `count` elements fit the caller's buffer, and reports the count either way.
///
/// Errors: `.buffer` if they do not fit; `.argument` if the buffer is NULL though it should hold some.
func room<Element>(
    for count: Int, in buffer: UnsafeMutablePointer<Element>?, _ capacity: Int, _ outCount: UnsafeMutablePointer<Int>?,
    _ name: String
) throws(PruneError) -> UnsafeMutablePointer<Element> {
    outCount?.pointee = count
    guard capacity >= count else {
        throw PruneError(.buffer, "\(name) has room for \(capacity) elements; \(count) are needed")
    }
    return try need(buffer, name)
}

/// An array from a caller's buffer. Errors: `.argument` for NULL with a count, or a count no buffer can have.
func array<Element>(
    _ buffer: UnsafePointer<Element>?, _ count: Int, _ name: String
) throws(PruneError) -> [Element] {
    guard count >= 0, !count.multipliedReportingOverflow(by: MemoryLayout<Element>.stride).overflow else {
        throw PruneError(.argument, "\(name) cannot have \(UInt(bitPattern: count)) elements")
    }
    if count == 0 { return [] }
    return Array(UnsafeBufferPointer(start: try need(buffer, name), count: count))
}
