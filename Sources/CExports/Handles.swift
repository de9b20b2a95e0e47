// SPDX-License-Identifier: Apache-2.0
import CPruneCore
import PruneCore

/// The objects behind the handles that the host holds.
///
/// A handle is a number that looks like a pointer and is never followed: the table says what it stands for. So a handle
/// that was released, is of another kind, or was never given out is recognised instead of read as memory.
enum HandleTable {
    private struct Entries {
        var objects: [UInt: any AnyObject & Sendable] = [:]
        /// Odd multiples of 8 from here on; no number is given out twice.
        var next: UInt = 0x5052_0008
    }

    private static let entries = Lock(Entries())

    /// A new handle. The table owns `object` until the handle is released. Errors: those of `Lock.withLock`.
    static func add(_ object: any AnyObject & Sendable) throws(PruneError) -> OpaquePointer? {
        try entries.withLock { entries in
            let number = entries.next
            entries.next += 16
            entries.objects[number] = object
            return OpaquePointer(bitPattern: number)
        }
    }

    /// Gives an object back. NULL, unknown handles and those of another kind are ignored. Calls under way keep it alive.
    static func release<Object: AnyObject & Sendable>(_ handle: OpaquePointer?, _ kind: Object.Type) {
        guard let handle else { return }
        let number = UInt(bitPattern: handle)
        // Out of the lock before it goes: what it frees may take long.
        let removed = try? entries.withLock { entries in
            entries.objects[number] is Object ? entries.objects.removeValue(forKey: number) : nil
        }
        withExtendedLifetime(removed) {}
    }

    /// The object of a handle. Errors: `.argument` for NULL; `.handle` if it is not one of `kind`; those of `Lock.withLock`.
    static func object<Object: AnyObject & Sendable>(
        _ handle: OpaquePointer?, _ kind: Object.Type, _ name: String
    ) throws(PruneError) -> Object {
        guard let handle else { throw PruneError(.argument, "\(name) is NULL") }
        let number = UInt(bitPattern: handle)
        guard let found = try entries.withLock({ $0.objects[number] }) else {
            throw PruneError(.handle, "\(name) is not a handle of this library, or was released")
        }
        guard let object = found as? Object else {
            throw PruneError(.handle, "\(name) is a handle of another kind")
        }
        return object
    }
}

/// What a `prune_model` stands for: a model, its mask, and the strings lent to the host.
final class ModelHandle: Sendable {
    let model: any Model
    let mask: Lock<KeepMask>
    let architecture: LentString
    let elementType: LentString

    init(_ model: any Model) {
        self.model = model
        mask = Lock(model.shape.present)
        architecture = LentString(model.shape.architecture)
        elementType = LentString(model.shape.elementType.rawValue)
    }

    /// Errors: those of `Lock.withLock`.
    var currentMask: KeepMask {
        get throws(PruneError) { try mask.withLock { $0 } }
    }
}

/// What a `prune_statistics` stands for.
final class StatisticsHandle: Sendable {
    private let statistics: Shared<ModelStatistics>

    init(_ statistics: ModelStatistics) { self.statistics = Shared(statistics) }

    /// Errors: those of `Lock.withLock`, here and below.
    var current: ModelStatistics {
        get throws(PruneError) { try statistics.with { $0 } }
    }

    func merge(_ other: ModelStatistics) throws(PruneError) {
        try statistics.with { (statistics) throws(PruneError) in try statistics.merge(other) }
    }

    /// Adds rows of one unit. Held during the reading: who adds from several threads waits, and is never wrong.
    func update(
        _ granularity: Granularity, unit: Int, before: StateRows, after: StateRows
    ) throws(PruneError) {
        try statistics.with { (statistics) throws(PruneError) in
            try statistics.update(granularity, unit: unit, before: before, after: after)
        }
    }
}

/// A C string that lives as long as this object.
final class LentString: @unchecked Sendable {
    let pointer: UnsafePointer<CChar>

    init(_ text: String) {
        let bytes = Array(text.utf8CString)
        let copy = UnsafeMutablePointer<CChar>.allocate(capacity: bytes.count)
        copy.initialize(from: bytes, count: bytes.count)
        pointer = UnsafePointer(copy)
    }

    deinit { pointer.deallocate() }
}
