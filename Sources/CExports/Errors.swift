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

/// Runs the body of an exported function, if there is memory for its small things; a failure becomes its status, and the
/// text of `prune_last_error`.
func guarded(_ body: () throws(PruneError) -> Void) -> prune_status {
    do throws(PruneError) {
        try Memory.requireReserve()
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

/// An array from a caller's buffer. Errors: `.argument` for NULL with a count, or a count no buffer can have; `.memory`.
func array<Element>(
    _ buffer: UnsafePointer<Element>?, _ count: Int, _ name: String
) throws(PruneError) -> [Element] {
    guard count >= 0, !count.multipliedReportingOverflow(by: MemoryLayout<Element>.stride).overflow else {
        throw PruneError(.argument, "\(name) cannot have \(UInt(bitPattern: count)) elements")
    }
    if count == 0 { return [] }
    let start = try need(buffer, name)
    try Memory.require(count * MemoryLayout<Element>.stride, for: "a copy of \(name)", "give fewer elements at a time")
    return Array(UnsafeBufferPointer(start: start, count: count))
}

/// A string of a caller. Errors: `.memory`.
func text(_ pointer: UnsafePointer<CChar>, _ name: String) throws(PruneError) -> String {
    try Memory.require(strlen(pointer), for: "a copy of \(name)", "give a shorter one")
    return String(cString: pointer)
}

/// The same of a string that may be NULL: then nil.
func optionalText(_ pointer: UnsafePointer<CChar>?, _ name: String) throws(PruneError) -> String? {
    guard let pointer else { return nil }
    return try text(pointer, name)
}

/// Cuts a caller's array into rows of `length` bytes, each made into something by `body`. The array has `count` of them.
///
/// Errors: `.argument` for NULL, or a count that no array can have; `.memory`; those of `body`.
func rows<Row>(
    _ buffer: UnsafePointer<UInt8>?, _ count: Int, of length: Int, _ name: String,
    _ body: ([UInt8]) throws(PruneError) -> Row
) throws(PruneError) -> [Row] {
    guard count >= 0, !count.multipliedReportingOverflow(by: length).overflow else {
        throw PruneError(.argument, "\(name) cannot have \(UInt(bitPattern: count)) rows")
    }
    if count == 0 { return [] }
    let start = try need(buffer, name)
    // A row stands twice, as bytes and as what is made of it; each array has a header.
    try Memory.require(
        count.times(clamping: 2 * (length + 64)), for: "\(count) rows of \(name)", "give fewer at a time")
    var rows: [Row] = []
    rows.reserveCapacity(count)
    for row in 0..<count {
        // Safe: the caller states that there are as many rows, of `length` bytes each.
        rows.append(try body(Array(UnsafeBufferPointer(start: start + row * length, count: length))))
    }
    return rows
}
