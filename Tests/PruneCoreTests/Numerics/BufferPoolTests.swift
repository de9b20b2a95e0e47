// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

@Suite struct BufferPoolTests {
    @Test func reusesMemoryAndRefusesTheImpossible() throws {
        let pool = BufferPool(limit: 1 << 20)
        var buffer: FloatBuffer? = try pool.buffer(1000)
        let first = buffer?.pointer
        buffer = nil
        #expect(try pool.buffer(900).pointer == first)
        #expect(throws: PruneError.self) { try pool.buffer(Int.max / 2) }
        #expect(throws: PruneError.self) { try pool.buffer(1 << 50) }
    }
}
