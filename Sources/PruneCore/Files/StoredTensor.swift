// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// One tensor as stored: a view into memory that `owner` keeps alive. Row-major; a host's rows may lie apart.
///
/// Sendable because the memory is only read while a tensor is in use.
public struct StoredTensor: @unchecked Sendable {
    private(set) var name: String
    let elementType: ElementType
    let shape: [Int]
    /// From the first element to the last, little-endian. May start at any address: read it with unaligned loads.
    let bytes: UnsafeRawBufferPointer
    /// Elements from one row of a matrix to the next, at least as many as a row has.
    let rowStride: Int
    let elementCount: Int
    let owner: AnyObject

    /// A tensor without gaps: `bytes` holds product(shape) elements, which was checked.
    init(name: String, elementType: ElementType, shape: [Int], bytes: UnsafeRawBufferPointer, owner: AnyObject) {
        self.name = name
        self.elementType = elementType
        self.shape = shape
        self.bytes = bytes
        self.owner = owner
        rowStride = shape.last ?? 1
        // Taken from the bytes, so that no shape can overflow here.
        elementCount = bytes.count / elementType.blockBytes * elementType.blockElements
    }

    /// The same tensor under another name.
    func renamed(_ name: String) -> StoredTensor {
        var tensor = self
        tensor.name = name
        return tensor
    }

    /// A vector as a matrix of one row.
    var asRow: StoredTensor {
        StoredTensor(name: name, elementType: elementType, shape: [1] + shape, bytes: bytes, owner: owner)
    }

    /// A matrix whose rows lie `rowStride` elements apart, at least as many as a row has; `bytes` reaches from the first
    /// element to the last, so that rows * columns cannot overflow.
    init(
        name: String, elementType: ElementType, rows: Int, columns: Int, rowStride: Int, bytes: UnsafeRawBufferPointer,
        owner: AnyObject
    ) {
        self.name = name
        self.elementType = elementType
        self.shape = [rows, columns]
        self.bytes = bytes
        self.owner = owner
        self.rowStride = rowStride
        elementCount = rows * columns
    }

    /// Some rows and columns of a matrix, or of one of the matrices that a tensor of three dimensions holds.
    ///
    /// - Parameter index: which matrix; nil = the tensor is one. The ranges lie in the shape, which was checked.
    /// Errors: `.unsupported` for columns of a quantised matrix that begin or end within a block.
    func part(index: Int? = nil, rows: Range<Int>, columns: Range<Int>) throws(PruneError) -> StoredTensor {
        guard index != nil || rows.count < shape[0] || columns.count < shape[1] else { return self }
        try requireBlocks(columns)
        let offset = ((index ?? 0) * shape[shape.count - 2] + rows.lowerBound) * rowStride + columns.lowerBound
        let count = (rows.count - 1) * rowStride + columns.count
        let (begin, end) = (elementType.bytes(of: offset), elementType.bytes(of: offset + count))
        return StoredTensor(
            name: name, elementType: elementType, rows: rows.count, columns: columns.count, rowStride: rowStride,
            bytes: UnsafeRawBufferPointer(rebasing: bytes[begin..<end]), owner: owner)
    }

    /// Some elements of a vector, or of a row of a matrix.
    ///
    /// Errors: `.unsupported` for elements of a quantised tensor that begin or end within a block.
    func part(row: Int? = nil, _ elements: Range<Int>) throws(PruneError) -> StoredTensor {
        guard row != nil || elements.count < elementCount else { return self }
        try requireBlocks(elements)
        let first = (row ?? 0) * rowStride + elements.lowerBound
        let (begin, end) = (elementType.bytes(of: first), elementType.bytes(of: first + elements.count))
        return StoredTensor(
            name: name, elementType: elementType, shape: [elements.count],
            bytes: UnsafeRawBufferPointer(rebasing: bytes[begin..<end]), owner: owner)
    }

    private func requireBlocks(_ elements: Range<Int>) throws(PruneError) {
        let block = elementType.blockElements
        guard elements.lowerBound % block == 0, elements.upperBound % block == 0 else {
            throw PruneError(
                .unsupported,
                "tensor \(name.quoted) is stored as \(elementType.rawValue), in blocks of \(block) elements, and the model needs its elements \(elements.lowerBound) to \(elements.upperBound - 1) apart; store it as bf16, fp16 or fp32"
            )
        }
    }

    /// Bytes of the elements, without gaps between rows.
    var byteCount: Int { elementType.bytes(of: elementCount) }

    /// The file that the memory is, which the system may drop and read again; nil for any other memory.
    var mappedFile: MappedFile? { (owner as? MappedFile).flatMap { $0.isMapped ? $0 : nil } }

    /// Has a tensor that lies in a file read into memory in the background.
    func willNeed() { (owner as? MappedFile)?.willNeed(bytes) }

    /// Lets what was read of a tensor that lies in a file go from this process's memory.
    func doesNotNeed(_ part: UnsafeRawBufferPointer) { (owner as? MappedFile)?.doesNotNeed(part) }

    /// Whether two matrices have the same elements, of the same type. Reading stops at the first row that differs.
    func hasElements(of other: StoredTensor) -> Bool {
        guard elementType == other.elementType, shape == other.shape, shape.count == 2 else { return false }
        guard let left = bytes.baseAddress, let right = other.bytes.baseAddress else { return elementCount == 0 }
        if left == right, rowStride == other.rowStride { return true }
        return (0..<shape[0]).allSatisfy { row in
            memcmp(
                left + elementType.bytes(of: row * rowStride), right + elementType.bytes(of: row * other.rowStride),
                elementType.bytes(of: shape[1])) == 0
        }
    }
}
