// SPDX-License-Identifier: Apache-2.0
/// Rows of hidden states in memory that a host lends, one row of `width` values per token, in any layout.
///
/// Strides are in elements and may be negative or skip memory. Nothing is read before a reader asks, and nothing kept.
public struct StateRows: @unchecked Sendable {
    public let count: Int
    public let width: Int
    private let base: UnsafeRawPointer?
    private let type: ElementType
    private let rowBytes: Int
    private let columnBytes: Int

    /// - Parameters:
    ///   - base: the first value of the first row, of any alignment; nil only if `count` is 0. The host vouches that all
    ///     values lie in memory that can be read as long as these rows are in use.
    ///   - rowStride: elements from a row to the next.
    ///   - columnStride: elements from a value to the next.
    ///   - name: what the host calls them, for errors.
    /// Errors: `.argument` for a negative size, or values that would lie outside of any memory.
    public init(
        _ base: UnsafeRawPointer?, _ type: ElementType, count: Int, width: Int, rowStride: Int, columnStride: Int,
        name: String
    ) throws(PruneError) {
        guard count >= 0, width >= 1 else {
            throw PruneError(
                .argument, "\(name) has \(count) rows of \(width) values; give 0 rows or more, of 1 value or more")
        }
        guard base != nil || count == 0 else { throw PruneError(.argument, "\(name).data is NULL") }
        let (rowBytes, rowOverflow) = rowStride.multipliedReportingOverflow(by: type.blockBytes)
        let (columnBytes, columnOverflow) = columnStride.multipliedReportingOverflow(by: type.blockBytes)
        let begin = UInt(bitPattern: base)
        guard !rowOverflow, !columnOverflow,
            Self.isMemory(begin, (count: count, bytes: rowBytes), (count: width, bytes: columnBytes), type.blockBytes)
        else {
            throw PruneError(
                .argument,
                "\(name) has \(count) rows of \(width) values, \(rowStride) and \(columnStride) elements apart: no memory is "
                    + "that large; check sizes and strides")
        }
        self.count = count
        self.width = width
        self.base = base
        self.type = type
        self.rowBytes = rowBytes
        self.columnBytes = columnBytes
    }

    /// Whether all values can lie between the first and the last address: offsets computed later do not overflow.
    private static func isMemory(
        _ begin: UInt, _ rows: (count: Int, bytes: Int), _ columns: (count: Int, bytes: Int), _ last: Int
    ) -> Bool {
        if rows.count == 0 { return true }
        var below = 0
        var above = last
        for axis in [rows, columns] {
            let (reach, overflow) = axis.bytes.multipliedReportingOverflow(by: axis.count - 1)
            let (sum, wrapped) = (reach < 0 ? below : above).addingReportingOverflow(reach)
            if overflow || wrapped { return false }
            if reach < 0 { below = sum } else { above = sum }
        }
        // No machine has addresses of more bits.
        let most = UInt(1) << 57
        return below.magnitude <= most && above.magnitude <= most && begin >= below.magnitude
            && !begin.addingReportingOverflow(UInt(above)).overflow
    }

    /// Whether the loops can read the rows where they are: fp32, value after value, aligned as a float is.
    private var isPlain: Bool {
        type == .float32 && columnBytes == 4 && UInt(bitPattern: base) % 4 == 0
    }

    /// Rows that a reader widens at a time. Where rows are closer to each other than the values of a row, as in a
    /// transposed matrix, so many share a cache line.
    private static let groupRows = 16

    /// Floats of scratch that a reader needs.
    ///
    /// Errors: `.memory` if there are more than can be counted.
    var scratchCount: Int {
        get throws(PruneError) {
            if isPlain { return 0 }
            let (floats, overflow) = width.multipliedReportingOverflow(by: min(count, Self.groupRows))
            guard !overflow else { throw PruneError(.memory, "rows of \(width) values do not fit into memory") }
            return floats
        }
    }

    /// Calls `body` with ranges that make up `rows`, in order, and a pointer to the first value of each, as fp32: the rows
    /// of a range are `stride` floats apart.
    ///
    /// - Parameters:
    ///   - rows: below `count`.
    ///   - scratch: room for `scratchCount` floats, which nobody else uses meanwhile.
    func read(
        _ rows: Range<Int>, scratch: UnsafeMutablePointer<Float>,
        _ body: (_ rows: Range<Int>, _ values: UnsafePointer<Float>, _ stride: Int) -> Void
    ) {
        guard let base else { return }
        if isPlain {
            // Safe: the rows are fp32, aligned, and inside what the host vouched for.
            let first = (base + rows.lowerBound * rowBytes).assumingMemoryBound(to: Float.self)
            return body(rows, first, rowBytes / 4)
        }
        for first in stride(from: rows.lowerBound, to: rows.upperBound, by: Self.groupRows) {
            let group = first..<min(first + Self.groupRows, rows.upperBound)
            if columnBytes == type.blockBytes {
                for row in group {
                    Kernels.widen(base + row * rowBytes, type, into: scratch + (row - first) * width, width)
                }
            } else {
                gather(group, from: base, into: scratch)
            }
            body(group, scratch, width)
        }
    }

    /// Widens values that do not follow each other, column by column: neighbours in memory are read together.
    private func gather(_ rows: Range<Int>, from base: UnsafeRawPointer, into out: UnsafeMutablePointer<Float>) {
        let first = base + rows.lowerBound * rowBytes
        for column in 0..<width {
            var next = first + column * columnBytes
            for place in stride(from: column, to: column + rows.count * width, by: width) {
                // Safe: `init` saw to it that no offset overflows, the host vouched for the memory, and `out` has room
                // for as many rows.
                switch type {
                case .float32: out[place] = next.loadUnaligned(as: Float.self)
                case .bfloat16: out[place] = Float(bitPattern: UInt32(next.loadUnaligned(as: UInt16.self)) << 16)
                // A host lends no quantised states.
                default: Kernels.widen(next, type, into: out + place, 1)
                }
                next += rowBytes
            }
        }
    }
}
