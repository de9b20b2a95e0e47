// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

/// Parts of tensors: rows, columns and experts, as fused matrices hold them.
@Suite struct TensorPartTests {
    private final class Owner {
        let memory: UnsafeMutableRawBufferPointer
        init(_ values: [Float]) {
            memory = .allocate(byteCount: 4 * values.count, alignment: 4)
            values.withUnsafeBytes { memory.copyMemory(from: $0) }
        }
        deinit { memory.deallocate() }
    }

    /// 0, 1, 2 and on.
    private func tensor(_ shape: [Int]) -> StoredTensor {
        let owner = Owner((0..<shape.reduce(1, *)).map { Float($0) })
        return StoredTensor(
            name: "a", elementType: .float32, shape: shape, bytes: UnsafeRawBufferPointer(owner.memory), owner: owner)
    }

    /// The elements, row by row.
    private func elements(_ tensor: StoredTensor) -> [Float] {
        let (rows, columns) = tensor.shape.count == 2 ? (tensor.shape[0], tensor.shape[1]) : (1, tensor.shape[0])
        return (0..<rows).flatMap { row in
            (0..<columns).map { column in
                tensor.bytes.loadUnaligned(fromByteOffset: 4 * (row * tensor.rowStride + column), as: Float.self)
            }
        }
    }

    @Test func rowsOfAMatrix() throws {
        let part = try tensor([4, 3]).part(rows: 1..<3, columns: 0..<3)
        #expect(part.shape == [2, 3] && part.rowStride == 3 && part.elementCount == 6 && part.byteCount == 24)
        #expect(elements(part) == [3, 4, 5, 6, 7, 8])
    }

    @Test func columnsOfAMatrixLieApart() throws {
        let part = try tensor([3, 4]).part(rows: 0..<3, columns: 1..<3)
        #expect(part.shape == [3, 2] && part.rowStride == 4 && part.elementCount == 6)
        #expect(elements(part) == [1, 2, 5, 6, 9, 10])
        // To the last element and no further.
        #expect(part.bytes.count == 4 * 10)
    }

    @Test func aPartOfOneExpertsMatrix() throws {
        let all = tensor([3, 4, 2])
        #expect(try elements(all.part(index: 0, rows: 0..<4, columns: 0..<2)) == [0, 1, 2, 3, 4, 5, 6, 7])
        #expect(try elements(all.part(index: 2, rows: 2..<4, columns: 0..<2)) == [20, 21, 22, 23])
        #expect(try elements(all.part(index: 1, rows: 0..<4, columns: 1..<2)) == [9, 11, 13, 15])
    }

    @Test func elementsOfAVectorAndOfAnExpertsRow() throws {
        #expect(try elements(tensor([6]).part(2..<5)) == [2, 3, 4])
        let biases = tensor([3, 4])
        #expect(try elements(biases.part(row: 2, 0..<4)) == [8, 9, 10, 11])
        #expect(try elements(biases.part(row: 1, 1..<3)) == [5, 6])
        #expect(try biases.part(row: 0, 0..<4).shape == [4])
    }

    /// A tensor asked for whole is itself, so that it is known to be the same.
    @Test func theWholeIsNoPart() throws {
        let matrix = tensor([4, 3])
        let whole = try matrix.part(rows: 0..<4, columns: 0..<3)
        #expect(whole.bytes.baseAddress == matrix.bytes.baseAddress && whole.bytes.count == matrix.bytes.count)
        #expect(try tensor([6]).part(0..<6).elementCount == 6)
    }

    @Test func partsKeepTheMemoryOfTheWhole() throws {
        weak var owner: AnyObject?
        var part: StoredTensor?
        do {
            let whole = tensor([4, 3])
            owner = whole.owner
            part = try whole.part(rows: 3..<4, columns: 0..<3)
        }
        #expect(owner != nil && part.map(elements) == [9, 10, 11])
        part = nil
        #expect(owner == nil)
    }
}
