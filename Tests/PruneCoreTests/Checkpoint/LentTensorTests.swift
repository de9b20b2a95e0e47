// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

/// Tensors of a host: who keeps the memory, that it counts as memory and not as a file, and strides that are followed.
struct LentTensorTests {
    /// fp32 values in memory that the test holds.
    private final class Memory: @unchecked Sendable {
        let values: UnsafeMutableBufferPointer<Float>

        init(count: Int) {
            values = .allocate(capacity: count)
            for index in 0..<count { values[index] = Float(index) }
        }

        deinit { values.deallocate() }

        var address: UnsafeRawPointer? { UnsafeRawPointer(values.baseAddress) }
    }

    private let memory = Memory(count: 64)

    private func table(
        shape: [Int64], strides: [Int64]?, in lent: LentMemory = LentMemory()
    ) throws(PruneError) -> TensorTable {
        let tensor = LentTensor(name: "w", data: memory.address, .float32, shape: shape, strides: strides)
        return try TensorTable(lent: [tensor], in: lent, configuration: "config_json")
    }

    @Test(
        arguments: [
            ([3, 4], nil, 4), ([3, 4], [4, 1], 4), ([3, 4], [9, 1], 9), ([1, 4], [-7, 1], 4), ([3, 1], [2, 99], 2),
            ([1, 1], [0, 0], 1), ([4], nil, 4), ([4], [1], 4), ([1], [5], 1), ([0, 4], [1, 1], 4),
            ([3, 0], [7, 7], 0),
        ] as [([Int64], [Int64]?, Int)])
    func stridesThatAreFollowed(_ shape: [Int64], _ strides: [Int64]?, _ rowStride: Int) throws {
        let tensor = try table(shape: shape, strides: strides).tensor("w", shape: shape.map { Int($0) })
        #expect(tensor.rowStride == rowStride)
        let count = shape.reduce(1) { $0 * Int($1) }
        #expect(tensor.elementCount == count && tensor.byteCount == 4 * count)
        let rows = shape.count == 2 ? Int(shape[0]) : 1
        let reach = count == 0 ? 0 : (rows - 1) * rowStride + count / rows
        #expect(tensor.bytes.count == 4 * reach)
    }

    @Test(arguments: [[3, 1], [4, 2], [-4, 1], [0, 1], [1, 4], [.min, .min], [4, 0]] as [[Int64]])
    func stridesThatAreNot(_ strides: [Int64]) throws {
        // A fault of what the model needs alone.
        let table = try table(shape: [3, 4], strides: strides)
        #expect(table.contains("w"))
        #expect { try table.tensor("w", shape: [3, 4]) } throws: { ($0 as? PruneError)?.kind == .unsupported }
    }

    @Test func rowsThatLieApartAreWidenedOneByOne() throws {
        let matrix = StoredMatrix(
            try table(shape: [3, 4], strides: [9, 1]).tensor("w", shape: [3, 4]), rows: 3, columns: 4)
        var out = [Float](repeating: -1, count: 8)
        matrix.widen(first: 1, count: 2, into: &out)
        #expect(out == [9, 10, 11, 12, 18, 19, 20, 21])
        // 1 to 4 vectors at once.
        var products = [Float](repeating: 0, count: 3)
        matrix.dot(0..<3, [1, 10, 100, 1000], rows: 1, into: &products, stride: 3)
        #expect(products == [3210, 13209, 23208].map { Float($0) })
    }

    @Test func equalElementsInOtherPlaces() throws {
        let other = Memory(count: 64)
        func tensor(_ memory: Memory, _ offset: Int, stride: Int64) throws -> StoredTensor {
            let start = try #require(memory.address) + 4 * offset
            let lent = LentTensor(name: "w", data: start, .float32, shape: [3, 4], strides: [stride, 1])
            return try TensorTable(lent: [lent], in: LentMemory(), configuration: "").tensor("w", shape: [3, 4])
        }
        for row in 0..<3 { for column in 0..<4 { other.values[5 * row + column] = memory.values[9 * row + column] } }
        let ours = try tensor(memory, 0, stride: 9)
        let same = try tensor(other, 0, stride: 5)
        let shifted = try tensor(memory, 1, stride: 9)
        #expect(ours.hasElements(of: ours) && ours.hasElements(of: same) && !ours.hasElements(of: shifted))
        other.values[13] += 1
        #expect(!ours.hasElements(of: same))
    }

    @Test func theHostIsToldOnceAndOnlyIfSomethingWasTakenOver() throws {
        final class Count: @unchecked Sendable { var value = 0 }
        let count = Count()
        var lent: LentMemory? = LentMemory()
        var held: TensorTable? = try table(shape: [3, 4], strides: nil, in: try #require(lent))
        lent?.whenReturned { count.value += 1 }
        lent = nil
        #expect(held != nil && count.value == 0)
        held = nil
        #expect(count.value == 1)
        _ = try table(shape: [3, 4], strides: nil)
        #expect(count.value == 1)
    }

    @Test func weightsInMemoryAreNeverReadAgain() throws {
        let mapped = try randomModel()
        #expect(mapped.weights.areMapped)
        let lent = LentMemory()
        var tensors: [LentTensor] = []
        var kept: [StoredTensor] = []
        let own = mapped.weights
        let finalNorm = try #require(own.finalNorm)
        let fixed = [own.embedding.tensor] + finalNorm.gains + [own.head.tensor]
        for tensor in fixed + (0..<mapped.shape.sublayerCount).flatMap({ own.tensors(ofSublayer: $0) }) {
            kept.append(tensor)
            tensors.append(
                LentTensor(
                    name: tensor.name, data: tensor.bytes.baseAddress, tensor.elementType,
                    shape: tensor.shape.map { Int64($0) }, strides: nil))
        }
        let table = try TensorTable(lent: tensors, in: lent, configuration: "config_json")
        let model = try NativeModel(mapped.config, table, compute: .float32)
        #expect(!model.weights.areMapped && !model.streamsWeights && !model.rereadsWeights)
        #expect(model.shape.parameterBytes == mapped.shape.parameterBytes)
        withExtendedLifetime(kept) {}
    }
}
