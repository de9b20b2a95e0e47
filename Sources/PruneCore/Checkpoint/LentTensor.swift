// SPDX-License-Identifier: Apache-2.0
/// A tensor as a host describes it.
///
/// Sendable as `StoredTensor` is: the memory is only read.
public struct LentTensor: @unchecked Sendable {
    /// Where the elements are, as stated: nothing of it has been checked.
    private struct Elements {
        let data: UnsafeRawPointer?
        let type: ElementType
        let shape: [Int64]
        let strides: [Int64]?
    }

    let name: String
    private let content: Result<Elements, PruneError>

    /// - Parameters:
    ///   - data: the first element, at any address.
    ///   - strides: elements from one index to the next, one per dimension; nil = row after row.
    public init(name: String, data: UnsafeRawPointer?, _ type: ElementType, shape: [Int64], strides: [Int64]?) {
        self.name = name
        content = .success(Elements(data: data, type: type, shape: shape, strides: strides))
    }

    /// A tensor that the engine cannot compute with; `fault` is thrown if the model needs it.
    public init(name: String, fault: PruneError) {
        self.name = name
        content = .failure(fault)
    }

    /// The tensor checked: sizes that memory can have, strides that the engine can follow.
    ///
    /// Errors: `.argument` if it cannot be what the host says, NULL or a negative size for instance.
    /// - Returns: a fault instead for a tensor that is sound, but not usable.
    func stored(in memory: LentMemory) throws(PruneError) -> Result<StoredTensor, PruneError> {
        let elements: Elements
        switch content {
        case .success(let own): elements = own
        case .failure(let fault): return .failure(fault)
        }
        let shape = try sizes(elements)
        guard shape.count == 1 || shape.count == 2 else {
            let what = "tensor \(name.quoted) has \(shape.count) dimensions; a weight has 1 or 2"
            return .failure(PruneError(.format, what))
        }
        let rows = shape.count == 2 ? shape[0] : 1
        let columns = shape[shape.count - 1]
        guard let rowStride = rowStride(elements.strides, rows: rows, columns: columns) else {
            return .failure(
                PruneError(
                    .unsupported,
                    "tensor \(name.quoted) has shape \(shape) and strides \(elements.strides ?? []); the elements of a row must "
                        + "follow each other, and rows must not overlap: make it contiguous"))
        }
        let bytes = try extent(elements, rows: rows, columns: columns, rowStride: rowStride)
        if shape.count == 2 {
            return .success(
                StoredTensor(
                    name: name, elementType: elements.type, rows: rows, columns: columns, rowStride: rowStride,
                    bytes: bytes,
                    owner: memory))
        }
        return .success(StoredTensor(name: name, elementType: elements.type, shape: shape, bytes: bytes, owner: memory))
    }

    private func sizes(_ elements: Elements) throws(PruneError) -> [Int] {
        try elements.shape.map { size throws(PruneError) in
            guard size >= 0, let size = Int(exactly: size) else {
                throw PruneError(.argument, "tensor \(name.quoted) has a size of \(size)")
            }
            return size
        }
    }

    /// Elements from one row to the next; nil if the engine cannot follow the strides. Where there is one element or none
    /// along a dimension, its stride means nothing, and producers set it to anything.
    private func rowStride(_ strides: [Int64]?, rows: Int, columns: Int) -> Int? {
        guard let strides, let last = strides.last, rows > 0, columns > 0 else { return columns }
        guard last == 1 || columns == 1 else { return nil }
        guard strides.count == 2, rows > 1 else { return columns }
        guard let stride = Int(exactly: strides[0]), stride >= columns else { return nil }
        return stride
    }

    /// The memory from the first element to the last.
    ///
    /// Errors: `.argument` if no address space has that much, or it begins at NULL.
    private func extent(
        _ elements: Elements, rows: Int, columns: Int, rowStride: Int
    ) throws(PruneError) -> UnsafeRawBufferPointer {
        guard rows > 0, columns > 0 else { return UnsafeRawBufferPointer(start: nil, count: 0) }
        guard let data = elements.data else { throw PruneError(.argument, "the data of tensor \(name.quoted) is NULL") }
        let (before, first) = (rows - 1).multipliedReportingOverflow(by: rowStride)
        let (count, second) = before.addingReportingOverflow(columns)
        let (bytes, third) = count.multipliedReportingOverflow(by: elements.type.blockBytes)
        let fourth = Int(bitPattern: data).addingReportingOverflow(bytes).overflow
        guard !first, !second, !third, !fourth else {
            throw PruneError(
                .argument,
                "tensor \(name.quoted) has shape \(elements.shape) and strides \(elements.strides ?? []), which no memory holds"
            )
        }
        return UnsafeRawBufferPointer(start: data, count: bytes)
    }
}

extension TensorTable {
    /// Tensors of a host, read where they lie; each keeps `memory` alive.
    ///
    /// - Parameter configuration: what error texts call the model's configuration.
    /// Errors: `.argument` if two have one name, or one cannot be what the host says.
    init(lent: [LentTensor], in memory: LentMemory, configuration: String) throws(PruneError) {
        var tensors: [String: StoredTensor] = [:]
        var unusable: [String: PruneError] = [:]
        for tensor in lent {
            guard tensors[tensor.name] == nil, unusable[tensor.name] == nil else {
                throw PruneError(.argument, "two tensors have the name \(tensor.name.quoted)")
            }
            switch try tensor.stored(in: memory) {
            case .success(let stored): tensors[tensor.name] = stored
            case .failure(let fault): unusable[tensor.name] = fault
            }
        }
        self.init(source: "tensors", configuration: configuration, tensors: tensors, unusable: unusable)
    }
}
