/// One tensor as stored: a view into memory that `owner` keeps alive. Row-major and contiguous.
///
/// Sendable because the memory is only read while a tensor is in use.
public struct StoredTensor: @unchecked Sendable {
    let name: String
    let elementType: ElementType
    let shape: [Int]
    /// product(shape) elements, little-endian. May start at any address: read it with unaligned loads.
    let bytes: UnsafeRawBufferPointer
    let owner: AnyObject

    /// Taken from the bytes, whose count was checked, so that no shape can overflow here.
    var elementCount: Int { bytes.count / elementType.byteCount }

    /// Has a tensor that lies in a file read into memory in the background.
    func willNeed() { (owner as? MappedFile)?.willNeed(bytes) }
}
